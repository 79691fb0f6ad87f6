-- Departures from New York (January 2013) per hour and airport, and delays per carrier and day. Real data: NA is null, event time from three columns.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE flights (
    `year` INT, `month` INT, `day` INT,
    dep_time INT, sched_dep_time INT, dep_delay INT,
    arr_time INT, sched_arr_time INT, arr_delay INT,
    carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING,
    air_time INT, distance INT, `hour` INT, `minute` INT, time_hour STRING,
    scheduled AS TO_TIMESTAMP(
        CAST(`year` AS STRING) || '-' || LPAD(CAST(`month` AS STRING), 2, '0') || '-' || LPAD(CAST(`day` AS STRING), 2, '0')
        || ' ' || LPAD(CAST(`hour` AS STRING), 2, '0') || ':' || LPAD(CAST(`minute` AS STRING), 2, '0') || ':00'),
    WATERMARK FOR scheduled AS scheduled - INTERVAL '20' HOUR
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/flights.csv',
    'format' = 'csv',
    'csv.null-literal' = 'NA'
);

CREATE TABLE departures (
    origin STRING,
    window_start TIMESTAMP(3),
    planned BIGINT,
    departed BIGINT,
    delayed BIGINT,
    avg_delay INT,
    max_delay INT,
    destinations BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/departures',
    'format' = 'json'
);

INSERT INTO departures
SELECT origin, window_start, COUNT(*) AS planned, COUNT(dep_time) AS departed,
    COUNT(*) FILTER (WHERE dep_delay > 15) AS delayed, AVG(dep_delay) AS avg_delay, MAX(dep_delay) AS max_delay,
    COUNT(DISTINCT dest) AS destinations
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(scheduled), INTERVAL '1' HOUR))
GROUP BY origin, window_start, window_end;

CREATE TABLE carriers (
    carrier STRING,
    flight_date DATE,
    flights BIGINT,
    miles INT,
    mean_arr_delay DOUBLE,
    cancelled BIGINT,
    first_tail STRING,
    planes BIGINT,
    mph DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/carriers',
    'format' = 'json'
);

INSERT INTO carriers
SELECT carrier, CAST(window_start AS DATE) AS flight_date, COUNT(*) AS flights,
    SUM(distance) AS miles, AVG(CAST(arr_delay AS DOUBLE)) AS mean_arr_delay,
    COUNT(*) - COUNT(dep_time) AS cancelled, MIN(tailnum) AS first_tail, COUNT(DISTINCT tailnum) AS planes,
    CAST(SUM(distance) AS DOUBLE) / SUM(air_time) * 60 AS mph
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(scheduled), INTERVAL '1' DAY))
GROUP BY carrier, window_start, window_end
HAVING COUNT(*) > 5;

CREATE TABLE worst (
    code STRING,
    origin STRING,
    dest STRING,
    scheduled TIMESTAMP(3),
    departed TIMESTAMP(3),
    hours_late INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/worst',
    'format' = 'json'
);

INSERT INTO worst
SELECT carrier || CAST(flight AS STRING) AS code, origin, dest, scheduled, TIMESTAMPADD(MINUTE, dep_delay, scheduled) AS departed, dep_delay / 60 AS hours_late
FROM flights WHERE dep_delay > 180 OR (dep_time IS NULL AND carrier IN ('UA', 'AA'));
