-- String functions on Unicode, empty and NULL texts: case, trimming, substrings, padding, positions.
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

CREATE TABLE shapes (
    id INT,
    up STRING,
    low STRING,
    cap STRING,
    len INT,
    len2 INT,
    backwards STRING,
    trimmed STRING,
    ltrimmed STRING,
    rtrimmed STRING,
    btrimmed STRING,
    no_h STRING,
    no_o STRING,
    both_sides STRING,
    doubled STRING,
    ascii_code INT,
    bracketed STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/shapes',
    'format' = 'json'
);

INSERT INTO shapes
SELECT
    id,
    UPPER(s) AS up,
    LOWER(s) AS low,
    INITCAP(s) AS cap,
    CHAR_LENGTH(s) AS len,
    CHARACTER_LENGTH(s) AS len2,
    REVERSE(s) AS backwards,
    TRIM(s) AS trimmed,
    LTRIM(s) AS ltrimmed,
    RTRIM(s) AS rtrimmed,
    BTRIM(s, 'ho ') AS btrimmed,
    TRIM(LEADING 'h' FROM s) AS no_h,
    TRIM(TRAILING 'o' FROM s) AS no_o,
    TRIM(BOTH ' ' FROM s) AS both_sides,
    REPEAT(s, 2) AS doubled,
    ASCII(s) AS ascii_code,
    '[' || s || ']' AS bracketed
FROM strings;

CREATE TABLE parts (
    id INT,
    from_2 STRING,
    from_2_for_3 STRING,
    from_n STRING,
    from_n_for_4 STRING,
    last_3 STRING,
    nothing STRING,
    beyond STRING,
    left_3 STRING,
    right_3 STRING,
    left_n STRING,
    lpad_8 STRING,
    rpad_8 STRING,
    lpad_n STRING,
    overlaid STRING,
    word_1 STRING,
    piece_n STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/parts',
    'format' = 'json'
);

INSERT INTO parts
SELECT
    id,
    SUBSTRING(s, 2) AS from_2,
    SUBSTRING(s FROM 2 FOR 3) AS from_2_for_3,
    SUBSTR(s, n) AS from_n,
    SUBSTRING(s, n, 4) AS from_n_for_4,
    SUBSTRING(s, -3) AS last_3,
    SUBSTRING(s, 3, 0) AS nothing,
    SUBSTRING(s, 100) AS beyond,
    LEFT(s, 3) AS left_3,
    RIGHT(s, 3) AS right_3,
    LEFT(s, n) AS left_n,
    LPAD(s, 8, '*-') AS lpad_8,
    RPAD(s, 8, '*-') AS rpad_8,
    LPAD(s, n, 'x') AS lpad_n,
    OVERLAY(s PLACING 'XX' FROM 3 FOR 2) AS overlaid,
    SPLIT_INDEX(s, ' ', 1) AS word_1,
    SPLIT_INDEX(s, ',', n) AS piece_n
FROM strings;

CREATE TABLE searching (
    id INT,
    position_o INT,
    instr_foo INT,
    locate_o INT,
    locate_o_from_6 INT,
    position_p INT,
    replaced STRING,
    without_p STRING,
    joined STRING,
    joined_ws STRING,
    joined_p STRING,
    translated STRING,
    second_of STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/searching',
    'format' = 'json'
);

INSERT INTO searching
SELECT
    id,
    POSITION('o' IN s) AS position_o,
    INSTR(s, 'foo') AS instr_foo,
    LOCATE('o', s) AS locate_o,
    LOCATE('o', s, 6) AS locate_o_from_6,
    POSITION(p IN s) AS position_p,
    REPLACE(s, 'o', '00') AS replaced,
    REPLACE(s, p, '') AS without_p,
    CONCAT(s, '-', p) AS joined,
    CONCAT_WS('|', s, p, 'end') AS joined_ws,
    CONCAT_WS(p, 'a', s, 'b') AS joined_p,
    TRANSLATE(s, 'abc', 'xy') AS translated,
    ELT(2, s, p) AS second_of
FROM strings;
