-- Regular expressions: extraction by group, replacement with references, matching; a pattern that does not match.
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

CREATE TABLE regex (
    id INT,
    group_1 STRING,
    group_2 STRING,
    group_0 STRING,
    unmatched_group STRING,
    no_such_group STRING,
    no_vowels STRING,
    swapped STRING,
    no_blanks STRING,
    only_letters BOOLEAN,
    has_o BOOLEAN,
    empty_pattern BOOLEAN,
    count_o INT,
    first_digit INT,
    first_number STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/regex',
    'format' = 'json'
);

INSERT INTO regex
SELECT
    id,
    REGEXP_EXTRACT(s, '([a-z]+) ([a-z]+)', 1) AS group_1,
    REGEXP_EXTRACT(s, '([a-z]+) ([a-z]+)', 2) AS group_2,
    REGEXP_EXTRACT(s, '([a-z]+) ([a-z]+)') AS group_0,
    REGEXP_EXTRACT(s, '([a-z]+)|([0-9]+)', 2) AS unmatched_group,
    REGEXP_EXTRACT(s, '[0-9]+', 3) AS no_such_group,
    REGEXP_REPLACE(s, '[aeiou]', '_') AS no_vowels,
    REGEXP_REPLACE(s, '(\w+) (\w+)', '$2 $1') AS swapped,
    REGEXP_REPLACE(s, '\s+', '') AS no_blanks,
    REGEXP(s, '^[a-z ]+$') AS only_letters,
    REGEXP(s, 'o') AS has_o,
    REGEXP(s, '') AS empty_pattern,
    REGEXP_COUNT(s, 'o') AS count_o,
    REGEXP_INSTR(s, '[0-9]') AS first_digit,
    REGEXP_SUBSTR(s, '[0-9]+') AS first_number
FROM strings;
