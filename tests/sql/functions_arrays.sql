-- Arrays as sets and sequences, maps from and to arrays.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE arrays (
    id INT,
    a ARRAY<INT>,
    b ARRAY<INT>,
    s ARRAY<STRING>,
    d ARRAY<DOUBLE>,
    m MAP<STRING, INT>,
    n MAP<STRING, INT>,
    y BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/arrays.json',
    'format' = 'json'
);

CREATE TABLE sets (
    id INT,
    appended ARRAY<INT>,
    prepended ARRAY<STRING>,
    sorted ARRAY<INT>,
    sorted_down ARRAY<STRING>,
    sorted_nulls ARRAY<INT>,
    joined ARRAY<INT>,
    only_first ARRAY<INT>,
    common ARRAY<INT>,
    all_items ARRAY<INT>,
    each_once ARRAY<DOUBLE>,
    backwards ARRAY<STRING>,
    cut ARRAY<INT>,
    removed ARRAY<INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sets',
    'format' = 'json'
);

INSERT INTO sets
SELECT
    id,
    ARRAY_APPEND(a, 9) AS appended,
    ARRAY_PREPEND(s, CAST(NULL AS STRING)) AS prepended,
    ARRAY_SORT(a) AS sorted,
    ARRAY_SORT(s, FALSE) AS sorted_down,
    ARRAY_SORT(a, TRUE, FALSE) AS sorted_nulls,
    ARRAY_UNION(a, b) AS joined,
    ARRAY_EXCEPT(a, b) AS only_first,
    ARRAY_INTERSECT(a, b) AS common,
    ARRAY_CONCAT(a, b) AS all_items,
    ARRAY_DISTINCT(d) AS each_once,
    ARRAY_REVERSE(s) AS backwards,
    ARRAY_SLICE(a, 2, -1) AS cut,
    ARRAY_REMOVE(a, 3) AS removed
FROM arrays;

CREATE TABLE numbers (
    id INT,
    largest INT,
    smallest STRING,
    place INT,
    has BOOLEAN,
    text STRING,
    text_nulls STRING,
    size INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/numbers',
    'format' = 'json'
);

INSERT INTO numbers
SELECT
    id,
    ARRAY_MAX(a) AS largest,
    ARRAY_MIN(s) AS smallest,
    ARRAY_POSITION(a, 2) AS place,
    ARRAY_CONTAINS(d, 0.0) AS has,
    ARRAY_JOIN(s, '|') AS text,
    ARRAY_JOIN(s, '|', 'NIL') AS text_nulls,
    CARDINALITY(n) AS size
FROM arrays;

CREATE TABLE maps (
    id INT,
    entries ARRAY<ROW<key STRING, `value` INT>>,
    made MAP<STRING, INT>,
    both_maps MAP<STRING, INT>,
    first_of INT,
    parts STRING,
    pairs STRING,
    by_pattern STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/maps',
    'format' = 'json'
);

INSERT INTO maps
SELECT
    id,
    MAP_ENTRIES(m) AS entries,
    MAP_FROM_ARRAYS(ARRAY['x', 'y'], ARRAY[id, CAST(NULL AS INT)]) AS made,
    MAP_UNION(m, n) AS both_maps,
    MAP_VALUES(m)[1] AS first_of,
    CAST(SPLIT('a,b,,c', ',') AS STRING) AS parts,
    CAST(STR_TO_MAP('k1=v1,k2=v2,k3,=v4') AS STRING) AS pairs,
    CAST(STR_TO_MAP('a:1;b:2|c:3=4', '[;|]', ':') AS STRING) AS by_pattern
FROM arrays;
