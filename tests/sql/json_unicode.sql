-- Texts of all kinds of letters in json: escapes, surrogates, controls, combining marks, right to left.
CREATE TABLE texts (
    id INT,
    s STRING,
    n INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/unicode.json',
    'format' = 'json'
);

CREATE TABLE sink (
    id INT,
    s STRING,
    letters INT,
    upper_s STRING,
    reversed STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sink',
    'format' = 'json'
);

INSERT INTO sink SELECT id, s, CHAR_LENGTH(s), UPPER(s), REVERSE(s) FROM texts;
