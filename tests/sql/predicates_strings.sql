-- LIKE with wildcards and escapes, NOT LIKE, SIMILAR TO, IN, comparisons of texts (by code unit), empty and blank texts.
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

CREATE TABLE likes (
    id INT,
    begins_h BOOLEAN,
    two_o BOOLEAN,
    three BOOLEAN,
    has_underscore BOOLEAN,
    has_percent BOOLEAN,
    no_a BOOLEAN,
    is_empty BOOLEAN,
    anything BOOLEAN,
    upper_hello BOOLEAN,
    like_p BOOLEAN,
    contains_p BOOLEAN,
    is_similar BOOLEAN,
    begins_digits BOOLEAN,
    eq_empty BOOLEAN,
    lt_a BOOLEAN,
    gt_z BOOLEAN,
    in_list BOOLEAN,
    not_in_list BOOLEAN,
    between_a_f BOOLEAN,
    ne_p BOOLEAN,
    is_null BOOLEAN,
    is_blank BOOLEAN,
    startswith BOOLEAN,
    endswith BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/likes',
    'format' = 'json'
);

INSERT INTO likes
SELECT
    id,
    s LIKE 'h%' AS begins_h,
    s LIKE '%o%o%' AS two_o,
    s LIKE '_aa' AS three,
    s LIKE '%!_%' ESCAPE '!' AS has_underscore,
    s LIKE '%\%%' ESCAPE '\' AS has_percent,
    s NOT LIKE '%a%' AS no_a,
    s LIKE '' AS is_empty,
    s LIKE '%' AS anything,
    s LIKE 'HELLO%' AS upper_hello,
    s LIKE p AS like_p,
    s LIKE '%' || p || '%' AS contains_p,
    s SIMILAR TO '(hello|foo).*' AS is_similar,
    s SIMILAR TO '[0-9]+%' AS begins_digits,
    s = '' AS eq_empty,
    s < 'a' AS lt_a,
    s > 'z' AS gt_z,
    s IN ('aaa', 'true', '', 'nope') AS in_list,
    s NOT IN ('aaa', 'true') AS not_in_list,
    s BETWEEN 'a' AND 'f' AS between_a_f,
    s <> p AS ne_p,
    s IS NULL AS is_null,
    TRIM(s) = '' AS is_blank,
    STARTSWITH(s, 'hello') AS startswith,
    ENDSWITH(s, 'foo') AS endswith
FROM strings;
