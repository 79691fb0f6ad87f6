-- Rows, arrays and maps: field access, element access, CARDINALITY, constructors, and nested output.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE people (
    id INT,
    who ROW<name STRING, age INT, home ROW<city STRING, zip STRING>>,
    tags ARRAY<STRING>,
    nums ARRAY<INT>,
    attrs MAP<STRING, INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/nested.json',
    'format' = 'json'
);

CREATE TABLE fields (
    id INT,
    who_name STRING,
    next_age INT,
    city STRING,
    first_tag STRING,
    third_tag STRING,
    second_num INT,
    x INT,
    nope INT,
    n_tags INT,
    n_attrs INT,
    no_who BOOLEAN,
    no_home BOOLEAN,
    second_is_b BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/fields',
    'format' = 'json'
);

INSERT INTO fields
SELECT
    id,
    p.who.name AS who_name,
    p.who.age + 1 AS next_age,
    p.who.home.city AS city,
    tags[1] AS first_tag,
    tags[3] AS third_tag,
    nums[2] AS second_num,
    attrs['x'] AS x,
    attrs['nope'] AS nope,
    CARDINALITY(tags) AS n_tags,
    CARDINALITY(attrs) AS n_attrs,
    p.who IS NULL AS no_who,
    p.who.home IS NULL AS no_home,
    'b' = tags[2] AS second_is_b
FROM people AS p;

CREATE TABLE nested (
    id INT,
    who ROW<`name` STRING, `age` INT, `home` ROW<`city` STRING, `zip` STRING>>,
    tags ARRAY<STRING>,
    attrs MAP<STRING, INT>,
    built_row ROW<`EXPR$0` INT, `EXPR$1` STRING>,
    built_array ARRAY<INT>,
    built_map MAP<VARCHAR(2), INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/nested',
    'format' = 'json'
);

INSERT INTO nested
SELECT
    id,
    who,
    tags,
    attrs,
    ROW(id, tags[1]) AS built_row,
    ARRAY[id, id * 2] AS built_array,
    MAP['id', id, 'n', CARDINALITY(nums)] AS built_map
FROM people;

CREATE TABLE array_functions (
    id INT,
    contains_p BOOLEAN,
    distinct_nums ARRAY<INT>,
    position_q INT,
    reversed ARRAY<INT>,
    greatest_num INT,
    least_num INT,
    joined STRING,
    appended ARRAY<INT>,
    sliced ARRAY<STRING>,
    without_p ARRAY<STRING>,
    tags_text STRING,
    who_text STRING,
    attrs_text STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/array_functions',
    'format' = 'json'
);

INSERT INTO array_functions
SELECT
    id,
    ARRAY_CONTAINS(tags, 'p') AS contains_p,
    ARRAY_DISTINCT(nums) AS distinct_nums,
    ARRAY_POSITION(tags, 'q') AS position_q,
    ARRAY_REVERSE(nums) AS reversed,
    ARRAY_MAX(nums) AS greatest_num,
    ARRAY_MIN(nums) AS least_num,
    ARRAY_JOIN(tags, '+') AS joined,
    ARRAY_CONCAT(nums, ARRAY[0]) AS appended,
    ARRAY_SLICE(tags, 1, 2) AS sliced,
    ARRAY_REMOVE(tags, 'p') AS without_p,
    CAST(tags AS STRING) AS tags_text,
    CAST(who AS STRING) AS who_text,
    CAST(attrs AS STRING) AS attrs_text
FROM people;
