-- The same key figures from a Kafka topic to PostgreSQL: JSON events in, upserts out.
--
--   psql -f examples/web_analytics/postgres.sql          (creates the two tables)
--   export KAFKA_SERVERS=127.0.0.1:9092 POSTGRES_DATABASE=127.0.0.1:5432/tidemill POSTGRES_USER=tidemill
--   tidemill run examples/web_analytics/kafka.sql        (or: tidemill submit)
--
-- An event is one message:
--   {"ts":"2024-06-01 10:00:00.123","user_id":"u0095","region":"eu-west","section":"cart",
--    "path":"/cart/34","status":200,"ms":186,"bytes":31149,"revenue":null}
SET 'pipeline.name' = 'web-analytics-kafka';
SET 'table.local-time-zone' = 'UTC';
-- A partition that is silent for so long no longer holds the others back.
SET 'table.exec.source.idle-timeout' = '10 s';

CREATE TABLE access_events (
    ts TIMESTAMP(3),
    user_id STRING,
    region STRING,
    section STRING,
    status INT,
    ms INT,
    revenue DECIMAL(10, 2),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'access-events',
    'properties.bootstrap.servers' = '${env:KAFKA_SERVERS}',
    'properties.group.id' = 'web-analytics',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

CREATE TABLE kpi_by_section (
    minute_start TIMESTAMP(3),
    section STRING,
    page_views BIGINT,
    unique_users BIGINT,
    mean_ms DOUBLE,
    p95_ms DOUBLE,
    error_rate DOUBLE,
    revenue DECIMAL(38, 2),
    PRIMARY KEY (minute_start, section) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://${env:POSTGRES_DATABASE}',
    'username' = '${env:POSTGRES_USER}',
    'table-name' = 'kpi_by_section'
);

CREATE TABLE kpi_by_region (
    minute_start TIMESTAMP(3),
    region STRING,
    page_views BIGINT,
    unique_users BIGINT,
    mean_ms DOUBLE,
    p95_ms DOUBLE,
    error_rate DOUBLE,
    revenue DECIMAL(38, 2),
    PRIMARY KEY (minute_start, region) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://${env:POSTGRES_DATABASE}',
    'username' = '${env:POSTGRES_USER}',
    'table-name' = 'kpi_by_region'
);

-- The columns of a primary key hold no NULL.
CREATE TEMPORARY VIEW events AS
SELECT
    ts,
    COALESCE(section, 'unknown') AS section,
    COALESCE(region, 'unknown') AS region,
    user_id,
    ms,
    CASE WHEN status >= 500 THEN 1 ELSE 0 END AS failed,
    revenue
FROM access_events;

EXECUTE STATEMENT SET
BEGIN

INSERT INTO kpi_by_section
SELECT
    window_start,
    section,
    COUNT(*),
    COUNT(DISTINCT user_id),
    AVG(CAST(ms AS DOUBLE)),
    PERCENTILE(ms, 0.95),
    CAST(SUM(failed) AS DOUBLE) / COUNT(*),
    COALESCE(SUM(revenue), 0)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, section;

INSERT INTO kpi_by_region
SELECT
    window_start,
    region,
    COUNT(*),
    COUNT(DISTINCT user_id),
    AVG(CAST(ms AS DOUBLE)),
    PERCENTILE(ms, 0.95),
    CAST(SUM(failed) AS DOUBLE) / COUNT(*),
    COALESCE(SUM(revenue), 0)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, region;

END;
