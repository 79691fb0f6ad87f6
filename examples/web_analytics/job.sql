-- A web shop's dashboard: key figures of every minute, by section of the shop and by region, from
-- the access log of its web server.
--
-- `make demo` generates the log (tidemill generate access-log) and shows the tables as they fill.
-- By hand, from the root of the repository:
--
--   tidemill generate access-log --output examples/web_analytics/data/logs/access.log &
--   tidemill run examples/web_analytics/job.sql
--   sqlite3 examples/web_analytics/data/kpi.db 'SELECT * FROM kpi_by_section ORDER BY 1 DESC LIMIT 8'
SET 'pipeline.name' = 'web-analytics';
SET 'table.local-time-zone' = 'UTC';
-- A file to which nothing is written any more does not hold the others back.
SET 'table.exec.source.idle-timeout' = '5 s';

-- Combined Log Format, and the response time at the end of the line. The few lines that are no log
-- lines are counted and skipped.
CREATE TABLE access_log (
    host STRING,
    ts TIMESTAMP(3),
    `path` STRING,
    status INT,
    user_agent STRING,
    response_time_ms BIGINT,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = 'examples/web_analytics/data/logs',
    'source.monitor-interval' = '500 ms',
    'source.follow' = 'true',
    'format' = 'access-log',
    'access-log.ignore-parse-errors' = 'true'
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
    'url' = 'jdbc:sqlite:examples/web_analytics/data/kpi.db',
    'table-name' = 'kpi_by_section',
    'sink.create-table' = 'true',
    'sink.buffer-flush.interval' = '500 ms'
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
    'url' = 'jdbc:sqlite:examples/web_analytics/data/kpi.db',
    'table-name' = 'kpi_by_region',
    'sink.create-table' = 'true',
    'sink.buffer-flush.interval' = '500 ms'
);

-- What people ask for: the section is the first part of the path, the region follows from the
-- address, an order is a request like /checkout/complete?order=100042&amount=59.90 that went well.
CREATE TEMPORARY VIEW requests AS
SELECT
    ts,
    COALESCE(SPLIT_INDEX(SPLIT_INDEX(`path`, '?', 0), '/', 1), 'other') AS section,
    CASE SPLIT_INDEX(host, '.', 0)
        WHEN '24' THEN 'us-east'
        WHEN '73' THEN 'us-west'
        WHEN '81' THEN 'eu-west'
        WHEN '91' THEN 'eu-central'
        WHEN '103' THEN 'ap-south'
        WHEN '126' THEN 'ap-northeast'
        WHEN '177' THEN 'sa-east'
        ELSE 'other'
    END AS region,
    CONCAT(host, ' ', user_agent) AS visitor,
    response_time_ms,
    CASE WHEN status >= 500 THEN 1 ELSE 0 END AS failed,
    CASE
        WHEN `path` LIKE '/checkout/complete?%' AND status < 400
            THEN CAST(REGEXP_EXTRACT(`path`, '[?&]amount=([0-9]+[.][0-9]+)', 1) AS DECIMAL(10, 2))
    END AS revenue
FROM access_log
WHERE LOWER(user_agent) NOT LIKE '%bot%';

EXECUTE STATEMENT SET
BEGIN

INSERT INTO kpi_by_section
SELECT
    window_start,
    section,
    COUNT(*),
    COUNT(DISTINCT visitor),
    AVG(CAST(response_time_ms AS DOUBLE)),
    PERCENTILE(response_time_ms, 0.95),
    CAST(SUM(failed) AS DOUBLE) / COUNT(*),
    COALESCE(SUM(revenue), 0)
FROM TABLE(TUMBLE(TABLE requests, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, section;

INSERT INTO kpi_by_region
SELECT
    window_start,
    region,
    COUNT(*),
    COUNT(DISTINCT visitor),
    AVG(CAST(response_time_ms AS DOUBLE)),
    PERCENTILE(response_time_ms, 0.95),
    CAST(SUM(failed) AS DOUBLE) / COUNT(*),
    COALESCE(SUM(revenue), 0)
FROM TABLE(TUMBLE(TABLE requests, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, region;

END;
