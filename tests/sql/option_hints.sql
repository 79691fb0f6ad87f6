-- Hints OPTIONS behind tables that are read and written, with aliases, in views and below windows.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE clicks (
    `user` STRING,
    action STRING,
    amount INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '/nowhere',
    'format' = 'json'
);

CREATE TABLE here (
    `user` STRING,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/here',
    'format' = 'json'
);

CREATE VIEW big AS SELECT `user`, amount FROM clicks /*+ OPTIONS('path' = '${data}/clicks.json') */ WHERE amount > 450;
INSERT INTO here SELECT * FROM big;

CREATE TABLE elsewhere (w TIMESTAMP(3), n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'json');
CREATE VIEW hinted AS SELECT ts FROM clicks /*+ OPTIONS('path' = '${data}/clicks.json') */;
INSERT INTO elsewhere /*+ OPTIONS('path' = '${out}/windows', 'json.timestamp-format.standard' = 'ISO-8601') */
SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE hinted, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end;

INSERT INTO elsewhere /*+ OPTIONS('path'='${out}/csv','format'='csv') */
SELECT c.ts, c.amount FROM default_catalog.default_database.clicks
  /*+ OPTIONS('path' = '${data}/clicks.json',
              'json.ignore-parse-errors' = 'true') */ AS c WHERE c.`user` = 'ann' AND c.amount < 50;
