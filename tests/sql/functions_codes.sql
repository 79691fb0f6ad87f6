-- Kinds of characters, addresses, hexadecimal bytes, formatted texts, seeded random numbers, names of types.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE strings (
    id INT,
    s STRING,
    n INT,
    p STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/strings.json',
    'format' = 'json'
);

CREATE TABLE kinds (
    id INT,
    alpha BOOLEAN,
    digit BOOLEAN,
    numeral BOOLEAN,
    numeral_of_number BOOLEAN,
    parts ARRAY<STRING>,
    letters ARRAY<STRING>,
    bytes_of BYTES,
    back STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/kinds',
    'format' = 'json'
);

INSERT INTO kinds
SELECT
    id,
    IS_ALPHA(s) AS alpha,
    IS_DIGIT(s) AS digit,
    IS_DECIMAL(s) AS numeral,
    IS_DECIMAL(n) AS numeral_of_number,
    SPLIT(s, ' ') AS parts,
    SPLIT(LEFT(s, 5), '') AS letters,
    UNHEX(HEX(s)) AS bytes_of,
    DECODE(UNHEX(s), 'UTF-8') AS back
FROM strings;

CREATE TABLE formats (
    id INT,
    whole STRING,
    padded STRING,
    grouped STRING,
    hex_number STRING,
    real_number STRING,
    exponent STRING,
    text STRING,
    wrong STRING,
    ip STRING,
    ip_number BIGINT,
    short_ip BIGINT,
    bad_ip BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/formats',
    'format' = 'json'
);

INSERT INTO formats
SELECT
    id,
    PRINTF('%d', n) AS whole,
    PRINTF('%6d|%-6d|%06d|%+d', n, n, n, n) AS padded,
    PRINTF('%,d %(d', n * 100000, n) AS grouped,
    PRINTF('%x %X %o %#x', n, n, n, n) AS hex_number,
    PRINTF('%.2f %8.3f %f', CAST(n AS DOUBLE) / 8, CAST(n AS DOUBLE) / 3, 0.5e0) AS real_number,
    PRINTF('%e %.1e', CAST(n AS DOUBLE) * 1234.5e0, 9.96e0) AS exponent,
    PRINTF('%s|%5s|%-5s|%.2s|%S|%b|%%', s, p, p, s, p, n = 4) AS text,
    PRINTF('%d', s) AS wrong,
    INET_NTOA(CAST(n AS BIGINT) + 3232235777) AS ip,
    INET_ATON('192.168.1.1') + n AS ip_number,
    INET_ATON('127.1') AS short_ip,
    INET_ATON('1.2.3.256') AS bad_ip
FROM strings;

CREATE TABLE random_numbers (
    id INT,
    seeded DOUBLE,
    below_ten INT,
    below_n INT,
    tiny STRING,
    nested STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/random_numbers',
    'format' = 'json'
);

INSERT INTO random_numbers
SELECT
    id,
    RAND(42) AS seeded,
    RAND_INTEGER(7, 10) AS below_ten,
    RAND_INTEGER(id, 16) AS below_n,
    TYPEOF(CAST(1 AS TINYINT)) AS tiny,
    TYPEOF(ARRAY[ROW(n, s)], TRUE) AS nested
FROM strings;
