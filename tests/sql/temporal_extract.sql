-- EXTRACT and its shorthands, FLOOR and CEIL to a unit, day names of weeks and years at their edges.
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

CREATE TABLE fields (
    id INT,
    f_year BIGINT,
    f_quarter BIGINT,
    f_month BIGINT,
    f_week BIGINT,
    f_day BIGINT,
    f_doy BIGINT,
    f_dow BIGINT,
    f_hour BIGINT,
    f_minute BIGINT,
    f_second BIGINT,
    f_millisecond BIGINT,
    f_epoch BIGINT,
    f_century BIGINT,
    d_year BIGINT,
    d_month BIGINT,
    d_day BIGINT,
    d_doy BIGINT,
    d_dow BIGINT,
    d_week BIGINT,
    d_quarter BIGINT,
    ts_hour BIGINT,
    t_minute BIGINT,
    t_second BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/fields',
    'format' = 'json'
);

INSERT INTO fields
SELECT
    id,
    EXTRACT(YEAR FROM ts) AS f_year,
    EXTRACT(QUARTER FROM ts) AS f_quarter,
    EXTRACT(MONTH FROM ts) AS f_month,
    EXTRACT(WEEK FROM ts) AS f_week,
    EXTRACT(DAY FROM ts) AS f_day,
    EXTRACT(DOY FROM ts) AS f_doy,
    EXTRACT(DOW FROM ts) AS f_dow,
    EXTRACT(HOUR FROM ts) AS f_hour,
    EXTRACT(MINUTE FROM ts) AS f_minute,
    EXTRACT(SECOND FROM ts) AS f_second,
    EXTRACT(MILLISECOND FROM ts) AS f_millisecond,
    EXTRACT(EPOCH FROM ts) AS f_epoch,
    EXTRACT(CENTURY FROM ts) AS f_century,
    YEAR(d) AS d_year,
    MONTH(d) AS d_month,
    DAYOFMONTH(d) AS d_day,
    DAYOFYEAR(d) AS d_doy,
    DAYOFWEEK(d) AS d_dow,
    WEEK(d) AS d_week,
    QUARTER(d) AS d_quarter,
    HOUR(ts) AS ts_hour,
    MINUTE(t) AS t_minute,
    SECOND(t) AS t_second
FROM times WHERE id <> 3 AND id <> 5;

CREATE TABLE units (
    id INT,
    fl_second TIMESTAMP(3),
    fl_minute TIMESTAMP(3),
    fl_hour TIMESTAMP(3),
    fl_day TIMESTAMP(3),
    fl_week TIMESTAMP(3),
    fl_month TIMESTAMP(3),
    fl_quarter TIMESTAMP(3),
    fl_year TIMESTAMP(3),
    ce_minute TIMESTAMP(3),
    ce_hour TIMESTAMP(3),
    ce_day TIMESTAMP(3),
    ce_month TIMESTAMP(3),
    ce_year TIMESTAMP(3),
    fl_d_month DATE,
    ce_d_year DATE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/units',
    'format' = 'json'
);

INSERT INTO units
SELECT
    id,
    FLOOR(ts TO SECOND) AS fl_second,
    FLOOR(ts TO MINUTE) AS fl_minute,
    FLOOR(ts TO HOUR) AS fl_hour,
    FLOOR(ts TO DAY) AS fl_day,
    FLOOR(ts TO WEEK) AS fl_week,
    FLOOR(ts TO MONTH) AS fl_month,
    FLOOR(ts TO QUARTER) AS fl_quarter,
    FLOOR(ts TO YEAR) AS fl_year,
    CEIL(ts TO MINUTE) AS ce_minute,
    CEIL(ts TO HOUR) AS ce_hour,
    CEIL(ts TO DAY) AS ce_day,
    CEIL(ts TO MONTH) AS ce_month,
    CEIL(ts TO YEAR) AS ce_year,
    FLOOR(d TO MONTH) AS fl_d_month,
    CEIL(d TO YEAR) AS ce_d_year
FROM times WHERE id NOT IN (3, 5, 9);
