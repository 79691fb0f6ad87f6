-- Four years of weather in Seattle by month and year.
-- ordered
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE weather (
    `date` STRING, precipitation DOUBLE, temp_max DOUBLE, temp_min DOUBLE, wind DOUBLE, weather STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/seattle-weather.csv',
    'format' = 'csv'
);

SELECT SUBSTRING(`date` FROM 1 FOR 4) AS y, weather, COUNT(*) AS days, MAX(temp_max) AS hottest, MIN(temp_min) AS coldest
FROM weather GROUP BY SUBSTRING(`date` FROM 1 FOR 4), weather ORDER BY y, days DESC, weather;

SELECT SUBSTRING(`date` FROM 6 FOR 2) AS m, CAST(SUM(CAST(precipitation AS DECIMAL(10, 1))) AS DECIMAL(10, 1)) AS rain,
    COUNT(*) FILTER (WHERE weather = 'snow') AS snow
FROM weather GROUP BY SUBSTRING(`date` FROM 6 FOR 2) ORDER BY rain DESC, m;

SELECT `date`, temp_max FROM weather ORDER BY temp_max DESC, `date` LIMIT 10;
SELECT DISTINCT weather FROM weather ORDER BY 1;
