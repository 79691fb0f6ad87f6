-- AND, OR, NOT and comparisons with NULL; IS [NOT] TRUE / FALSE / UNKNOWN; IS [NOT] DISTINCT FROM; NULL in IN lists.
SET 'table.local-time-zone' = 'UTC';

CREATE TEMPORARY VIEW pairs AS
SELECT * FROM (VALUES
    (1, TRUE, TRUE, 1, 1), (2, TRUE, FALSE, 1, 2), (3, FALSE, TRUE, 2, 1), (4, FALSE, FALSE, 0, 0),
    (5, TRUE, CAST(NULL AS BOOLEAN), 1, CAST(NULL AS INT)), (6, FALSE, CAST(NULL AS BOOLEAN), 0, CAST(NULL AS INT)),
    (7, CAST(NULL AS BOOLEAN), TRUE, CAST(NULL AS INT), 1), (8, CAST(NULL AS BOOLEAN), FALSE, CAST(NULL AS INT), 0),
    (9, CAST(NULL AS BOOLEAN), CAST(NULL AS BOOLEAN), CAST(NULL AS INT), CAST(NULL AS INT))
) AS t (id, p, q, x, y);

CREATE TABLE logic (
    id INT,
    p_and_q BOOLEAN,
    p_or_q BOOLEAN,
    not_p BOOLEAN,
    p_eq_q BOOLEAN,
    p_ne_q BOOLEAN,
    p_is_true BOOLEAN,
    p_is_not_true BOOLEAN,
    p_is_false BOOLEAN,
    p_is_not_false BOOLEAN,
    p_is_unknown BOOLEAN,
    p_is_known BOOLEAN,
    p_is_null BOOLEAN,
    exclusive BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/logic',
    'format' = 'json'
);

INSERT INTO logic
SELECT
    id,
    p AND q AS p_and_q,
    p OR q AS p_or_q,
    NOT p AS not_p,
    p = q AS p_eq_q,
    p <> q AS p_ne_q,
    p IS TRUE AS p_is_true,
    p IS NOT TRUE AS p_is_not_true,
    p IS FALSE AS p_is_false,
    p IS NOT FALSE AS p_is_not_false,
    p IS UNKNOWN AS p_is_unknown,
    p IS NOT UNKNOWN AS p_is_known,
    p IS NULL AS p_is_null,
    p AND NOT q OR q AND NOT p AS exclusive
FROM pairs;

CREATE TABLE comparisons (
    id INT,
    eq BOOLEAN,
    ne BOOLEAN,
    lt BOOLEAN,
    is_distinct BOOLEAN,
    is_not_distinct BOOLEAN,
    in_list BOOLEAN,
    not_in_list BOOLEAN,
    in_with_null BOOLEAN,
    not_in_with_null BOOLEAN,
    is_between BOOLEAN,
    is_not_between BOOLEAN,
    is_symmetric BOOLEAN,
    sum_is_null BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/comparisons',
    'format' = 'json'
);

INSERT INTO comparisons
SELECT
    id,
    x = y AS eq,
    x <> y AS ne,
    x < y AS lt,
    x IS DISTINCT FROM y AS is_distinct,
    x IS NOT DISTINCT FROM y AS is_not_distinct,
    x IN (1, 2) AS in_list,
    x NOT IN (1, 2) AS not_in_list,
    x IN (1, CAST(NULL AS INT)) AS in_with_null,
    x NOT IN (1, CAST(NULL AS INT)) AS not_in_with_null,
    x BETWEEN y AND 2 AS is_between,
    x NOT BETWEEN y AND 2 AS is_not_between,
    x BETWEEN SYMMETRIC 2 AND y AS is_symmetric,
    x + y IS NULL AS sum_is_null
FROM pairs;

CREATE TABLE kept (
    id INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/kept',
    'format' = 'json'
);

INSERT INTO kept
SELECT
    id
FROM pairs WHERE NOT (p AND q);

CREATE TABLE kept_or (
    id INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/kept_or',
    'format' = 'json'
);

INSERT INTO kept_or
SELECT
    id
FROM pairs WHERE p OR x = y;
