-- Flights joined with the weather at their hour, with themselves and with names.
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

CREATE TABLE weather (
    origin STRING, `year` INT, `month` INT, `day` INT, `hour` INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE,
    wind_dir INT, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE, time_hour STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/weather.csv',
    'format' = 'csv',
    'csv.null-literal' = 'NA'
);
CREATE TABLE airlines (carrier STRING, name STRING)
WITH ('connector' = 'filesystem', 'path' = '${data}/airlines.csv', 'format' = 'csv');

SELECT f.origin, f.`day`, f.`hour`, w.temp, COUNT(*) AS n, MAX(f.dep_delay)
FROM flights AS f JOIN weather AS w
ON f.origin = w.origin AND f.`year` = w.`year` AND f.`month` = w.`month` AND f.`day` = w.`day` AND f.`hour` = w.`hour`
GROUP BY f.origin, f.`day`, f.`hour`, w.temp ORDER BY 1, 2, 3;

SELECT a.name, f.carrier, COUNT(f.flight) AS n
FROM flights AS f FULL JOIN airlines AS a ON f.carrier = a.carrier
GROUP BY a.name, f.carrier ORDER BY n DESC, f.carrier NULLS LAST;

SELECT a.tailnum, a.flight, b.flight, a.dest
FROM flights AS a JOIN flights AS b ON a.tailnum = b.tailnum AND a.`day` = b.`day` AND a.dep_time < b.dep_time
WHERE a.origin = 'LGA' ORDER BY a.tailnum, a.flight, b.flight, a.`day` LIMIT 20;

SELECT carrier, COUNT(*) FROM flights
WHERE carrier IN (SELECT carrier FROM airlines) GROUP BY carrier ORDER BY carrier;

SELECT carrier, COUNT(*) FROM flights AS f
WHERE NOT EXISTS (SELECT * FROM airlines AS a WHERE a.carrier = f.carrier) GROUP BY carrier ORDER BY carrier;
