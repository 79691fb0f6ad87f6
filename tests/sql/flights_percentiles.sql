-- Flights: percentiles of delays by carrier and half day.
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

SELECT window_start, carrier, PERCENTILE(dep_delay, 0.5), PERCENTILE(dep_delay, ARRAY[0.1, 0.9]), PERCENTILE(air_time, 1.0)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(scheduled), INTERVAL '12' HOUR))
GROUP BY window_start, window_end, carrier;
