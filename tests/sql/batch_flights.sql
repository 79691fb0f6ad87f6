-- Two days of flights from New York: what a table of them says.
-- ordered
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE flights (
    `year` INT, `month` INT, `day` INT,
    dep_time INT, sched_dep_time INT, dep_delay INT,
    arr_time INT, sched_arr_time INT, arr_delay INT,
    carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING,
    air_time INT, distance INT, `hour` INT, `minute` INT, time_hour STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/flights.csv',
    'format' = 'csv',
    'csv.null-literal' = 'NA'
);

SELECT carrier, COUNT(*) AS flights, COUNT(dep_time) AS departed, AVG(dep_delay) AS mean_delay, MAX(arr_delay) AS worst,
    SUM(distance) AS miles, COUNT(DISTINCT dest) AS destinations
FROM flights GROUP BY carrier HAVING COUNT(*) >= 10 ORDER BY flights DESC, carrier;

SELECT origin, dest, COUNT(*) AS n, MIN(air_time) AS fastest
FROM flights WHERE air_time IS NOT NULL
GROUP BY origin, dest ORDER BY n DESC, origin, dest LIMIT 12;

SELECT tailnum, `day`, flight, dep_time, dep_delay
FROM flights ORDER BY dep_delay DESC NULLS LAST, flight LIMIT 15;

SELECT `day`, `hour`, COUNT(*) AS planned, COUNT(*) - COUNT(dep_time) AS cancelled
FROM flights GROUP BY `day`, `hour` ORDER BY `day`, `hour`;

SELECT COUNT(DISTINCT tailnum), COUNT(*) FROM flights;
