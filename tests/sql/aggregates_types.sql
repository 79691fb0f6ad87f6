-- The result types and values of SUM, AVG, MIN, MAX, COUNT over every number type, over nulls only, and of
-- sums that overflow and wrap; SUM of doubles only where the order of addition cannot matter.
SET 'table.local-time-zone' = 'UTC';

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

CREATE TABLE sums (
    window_start TIMESTAMP(3),
    t TINYINT,
    s SMALLINT,
    i INT,
    b BIGINT,
    dec_ DECIMAL(38, 2),
    d DOUBLE,
    f FLOAT,
    i_dec DECIMAL(38, 2),
    t_wrapped TINYINT,
    b_wrapped BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sums',
    'format' = 'json'
);

INSERT INTO sums
SELECT window_start, SUM(t) AS t, SUM(s) AS s, SUM(i) AS i, SUM(b) AS b, SUM(`dec`) AS dec_,
    SUM(CAST(i AS DOUBLE)) AS d, SUM(CAST(t AS FLOAT)) AS f, SUM(i + `dec`) AS i_dec,
    SUM(CAST(100 AS TINYINT)) AS t_wrapped, SUM(IF(id < 2, CAST(9223372036854775807 AS BIGINT), b)) AS b_wrapped
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end;

CREATE TABLE averages (
    window_start TIMESTAMP(3),
    t TINYINT,
    s SMALLINT,
    i INT,
    b BIGINT,
    dec_ DECIMAL(38, 6),
    d DOUBLE,
    f FLOAT,
    d20 DECIMAL(38, 8),
    t_100 TINYINT,
    b_wrapped BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/averages',
    'format' = 'json'
);

INSERT INTO averages
SELECT window_start, AVG(t) AS t, AVG(s) AS s, AVG(i) AS i, AVG(b) AS b, AVG(`dec`) AS dec_,
    AVG(CAST(i AS DOUBLE)) AS d, AVG(CAST(t AS FLOAT)) AS f, AVG(CAST(`dec` AS DECIMAL(20, 8))) AS d20,
    AVG(CAST(100 AS TINYINT)) AS t_100, AVG(IF(id < 2, CAST(9223372036854775807 AS BIGINT), b)) AS b_wrapped
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end;

CREATE TABLE extremes (
    window_start TIMESTAMP(3),
    min_t TINYINT,
    max_s SMALLINT,
    min_i INT,
    max_b BIGINT,
    min_f FLOAT,
    max_f FLOAT,
    min_d DOUBLE,
    max_d DOUBLE,
    min_dec DECIMAL(10, 2),
    max_dec DECIMAL(10, 2),
    min_txt STRING,
    max_txt STRING,
    min_ts TIMESTAMP_LTZ(3),
    max_ts TIMESTAMP(3),
    max_date DATE,
    n_txt BIGINT,
    n BIGINT,
    n_1 BIGINT,
    n_distinct BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/extremes',
    'format' = 'json'
);

INSERT INTO extremes
SELECT window_start, MIN(t) AS min_t, MAX(s) AS max_s, MIN(i) AS min_i, MAX(b) AS max_b, MIN(f) AS min_f, MAX(f) AS max_f,
    MIN(d) AS min_d, MAX(d) AS max_d, MIN(`dec`) AS min_dec, MAX(`dec`) AS max_dec, MIN(txt) AS min_txt, MAX(txt) AS max_txt,
    MIN(ts) AS min_ts, MAX(CAST(ts AS TIMESTAMP(3))) AS max_ts, MAX(CAST(ts AS DATE)) AS max_date, COUNT(txt) AS n_txt,
    COUNT(*) AS n, COUNT(1) AS n_1, COUNT(DISTINCT txt) AS n_distinct
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end;

CREATE TABLE statistics (
    window_start TIMESTAMP(3),
    distinct_t TINYINT,
    sd_pop INT,
    var_t TINYINT,
    sd_samp SMALLINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/statistics',
    'format' = 'json'
);

INSERT INTO statistics
SELECT window_start, SUM(DISTINCT t) AS distinct_t, STDDEV_POP(i) AS sd_pop, VAR_SAMP(t) AS var_t, STDDEV_SAMP(s) AS sd_samp
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '20' SECOND))
WHERE ABS(i) < 1000 AND id > 4 GROUP BY window_start, window_end;
