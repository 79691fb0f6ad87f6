-- Filters over partition columns, also together with others, and functions of them.
SET 'table.dml-sync' = 'true';

CREATE TABLE visits (
    dt STRING,
    hr INT,
    url STRING,
    ms BIGINT
) PARTITIONED BY (dt, hr) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/visits',
    'format' = 'json'
);

INSERT INTO visits VALUES
    ('2024-01-01', 0, '/a', 10),
    ('2024-01-01', 1, '/b', 20),
    ('2024-01-01', 23, '/c', 30),
    ('2024-01-02', 0, '/a', 40),
    ('2024-01-02', 7, '/b', 50),
    ('2024-01-03', 12, '/c', 60);

CREATE TABLE sink (
    q STRING,
    dt STRING,
    hr INT,
    url STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sink',
    'format' = 'json'
);

INSERT INTO sink SELECT 'equal', dt, hr, url FROM visits WHERE dt = '2024-01-01';
INSERT INTO sink SELECT 'range', dt, hr, url FROM visits WHERE dt > '2024-01-01' AND hr BETWEEN 5 AND 12;
INSERT INTO sink SELECT 'either', dt, hr, url FROM visits WHERE hr = 0 OR dt = '2024-01-03';
INSERT INTO sink SELECT 'mixed', dt, hr, url FROM visits WHERE hr < 10 AND ms > 30;
INSERT INTO sink SELECT 'mixed or', dt, hr, url FROM visits WHERE hr = 23 OR ms = 60;
INSERT INTO sink SELECT 'function', dt, hr, url FROM visits WHERE SUBSTRING(dt, 9) = '02' AND MOD(hr, 7) = 0;
INSERT INTO sink SELECT 'none', dt, hr, url FROM visits WHERE dt = '1999-01-01';
INSERT INTO sink SELECT 'in', dt, hr, url FROM visits WHERE dt IN ('2024-01-03', '2024-01-02') AND url IN ('/a', '/c');
