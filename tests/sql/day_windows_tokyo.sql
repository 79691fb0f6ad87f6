-- parallelism: 1
-- Windows of a day and of six hours over TIMESTAMP_LTZ in a zone east of UTC, and what the zone shows.
SET 'table.local-time-zone' = 'Asia/Tokyo';

CREATE TABLE numbers (
    id INT,
    t TINYINT,
    s SMALLINT,
    i INT,
    b BIGINT,
    f FLOAT,
    d DOUBLE,
    `dec` DECIMAL(10, 2),
    txt STRING,
    ts AS TO_TIMESTAMP_LTZ(id * 1000, 3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

CREATE TABLE stamped (
    id INT,
    d DATE,
    t TIME,
    ts TIMESTAMP(3),
    ms BIGINT,
    moment AS TO_TIMESTAMP_LTZ(COALESCE(ms, 0), 3),
    WATERMARK FOR moment AS moment - INTERVAL '99' YEAR
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

SELECT id, CAST(moment AS STRING), CAST(moment AS DATE), CAST(moment AS TIMESTAMP(3)), EXTRACT(HOUR FROM moment), DATE_FORMAT(moment, 'yyyy-MM-dd HH:mm') FROM stamped;

SELECT window_start, window_end, COUNT(*), MIN(moment)
FROM TABLE(TUMBLE(TABLE stamped, DESCRIPTOR(moment), INTERVAL '1' DAY))
GROUP BY window_start, window_end;

SELECT window_start, window_end, COUNT(*), MAX(id)
FROM TABLE(TUMBLE(TABLE stamped, DESCRIPTOR(moment), INTERVAL '6' HOUR))
GROUP BY window_start, window_end;
