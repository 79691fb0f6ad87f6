-- Options of the json format: ISO timestamps in and out, decimals as plain numbers, null fields left out, time and date columns, TINYINT to BINARY.
SET 'table.local-time-zone' = 'Europe/Berlin';
-- The second job reads what the first writes.
SET 'table.dml-sync' = 'true';

CREATE TABLE times (
    id INT,
    d DATE,
    t TIME,
    ts STRING,
    ms BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TABLE iso (
    id TINYINT,
    d DATE,
    t TIME(0),
    ts TIMESTAMP(3),
    ltz TIMESTAMP_LTZ(3),
    amount DECIMAL(20, 4),
    small DECIMAL(20, 10),
    bits VARBINARY(20),
    f FLOAT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/iso',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601',
    'json.encode.decimal-as-plain-number' = 'true',
    'json.encode.ignore-null-fields' = 'true'
);

INSERT INTO iso
SELECT CAST(id AS TINYINT), d, t, TO_TIMESTAMP(ts), TO_TIMESTAMP_LTZ(ms, 3), id * 100000.0, id * 0.00000001, ENCODE(ts, 'UTF-8'), CAST(ms AS FLOAT)
FROM times WHERE id < 9;

CREATE TABLE iso_again (
    id INT,
    ts TIMESTAMP(3),
    ltz TIMESTAMP_LTZ(3),
    amount DECIMAL(20, 4),
    bits BYTES
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/iso',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TABLE read_again (
    id INT,
    ts TIMESTAMP(3),
    ltz TIMESTAMP_LTZ(3),
    amount DECIMAL(20, 4),
    text_again STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/read_again',
    'format' = 'json'
);

INSERT INTO read_again
SELECT id, ts, ltz, amount, DECODE(bits, 'UTF-8') AS text_again FROM iso_again;
