-- Intervals of days and months, differences, comparisons with literals, TIMESTAMPADD and TIMESTAMPDIFF.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE times (
    id INT,
    d DATE,
    t TIME,
    ts TIMESTAMP(3),
    ms BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TABLE shifted (
    id INT,
    plus_day TIMESTAMP(3),
    minus_month TIMESTAMP(3),
    plus_year_month TIMESTAMP(3),
    plus_day_second TIMESTAMP(3),
    minus_90_minutes TIMESTAMP(3),
    d_plus_month DATE,
    d_plus_30 DATE,
    d_minus_year DATE,
    t_plus_13 TIME(0),
    add_hours TIMESTAMP(3),
    add_month TIMESTAMP(3),
    add_days DATE,
    add_quarter DATE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/shifted',
    'format' = 'json'
);

INSERT INTO shifted
SELECT
    id,
    ts + INTERVAL '1' DAY AS plus_day,
    ts - INTERVAL '1' MONTH AS minus_month,
    ts + INTERVAL '1-2' YEAR TO MONTH AS plus_year_month,
    ts + INTERVAL '1 02:03:04.005' DAY TO SECOND AS plus_day_second,
    ts - INTERVAL '90' MINUTE AS minus_90_minutes,
    d + INTERVAL '1' MONTH AS d_plus_month,
    d + INTERVAL '30' DAY AS d_plus_30,
    d - INTERVAL '1' YEAR AS d_minus_year,
    t + INTERVAL '13' HOUR AS t_plus_13,
    TIMESTAMPADD(HOUR, id, ts) AS add_hours,
    TIMESTAMPADD(MONTH, 1, ts) AS add_month,
    TIMESTAMPADD(DAY, -id, d) AS add_days,
    TIMESTAMPADD(QUARTER, 1, d) AS add_quarter
FROM times WHERE id NOT IN (9);

CREATE TABLE differences (
    id INT,
    seconds INT,
    minutes INT,
    hours INT,
    days INT,
    months INT,
    years INT,
    n_weeks INT,
    d_to_ts INT,
    after_2000 BOOLEAN,
    in_range BOOLEAN,
    morning BOOLEAN,
    same_day BOOLEAN,
    overlapping BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/differences',
    'format' = 'json'
);

INSERT INTO differences
SELECT
    id,
    TIMESTAMPDIFF(SECOND, TIMESTAMP '2024-01-01 00:00:00', ts) AS seconds,
    TIMESTAMPDIFF(MINUTE, ts, TIMESTAMP '2024-01-01 00:00:00') AS minutes,
    TIMESTAMPDIFF(HOUR, TIMESTAMP '2024-01-01 00:00:00', ts) AS hours,
    TIMESTAMPDIFF(DAY, TIMESTAMP '2024-01-01 12:00:00', ts) AS days,
    TIMESTAMPDIFF(MONTH, TIMESTAMP '2024-01-31 00:00:00', ts) AS months,
    TIMESTAMPDIFF(YEAR, d, DATE '2024-02-28') AS years,
    TIMESTAMPDIFF(WEEK, d, DATE '2024-02-28') AS n_weeks,
    TIMESTAMPDIFF(DAY, d, ts) AS d_to_ts,
    ts > TIMESTAMP '2000-01-01 00:00:00' AS after_2000,
    d BETWEEN DATE '2020-01-01' AND DATE '2024-02-29' AS in_range,
    t < TIME '12:00:00' AS morning,
    d = CAST(ts AS DATE) AS same_day,
    (d, DATE '2024-06-01') OVERLAPS (DATE '2024-01-01', DATE '2024-03-01') AS overlapping
FROM times WHERE id NOT IN (3, 5);
