-- JSON_VALUE, JSON_QUERY, JSON_EXISTS with all their options, IS JSON of every kind, and texts that become JSON.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE documents (
    id INT,
    doc STRING,
    name STRING,
    n INT,
    x DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/documents.json',
    'format' = 'json'
);

CREATE TABLE found (
    id INT,
    plain STRING,
    lax STRING,
    defaults STRING,
    truth STRING,
    deep STRING,
    quoted STRING,
    last_item STRING,
    bool BOOLEAN,
    whole INT,
    real_number DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/found',
    'format' = 'json'
);

INSERT INTO found
SELECT
    id,
    JSON_VALUE(doc, '$.a') AS plain,
    JSON_VALUE(doc, 'lax $.b[2].c') AS lax,
    JSON_VALUE(doc, 'strict $.b' DEFAULT 'none' ON EMPTY DEFAULT 'wrong' ON ERROR) AS defaults,
    JSON_VALUE(doc, '$.g' DEFAULT TRUE ON ERROR) AS truth,
    JSON_VALUE(doc, '$..f') AS deep,
    JSON_VALUE(doc, '$[''a b''].z' NULL ON EMPTY NULL ON ERROR) AS quoted,
    JSON_VALUE(doc, '$[-2]') AS last_item,
    JSON_VALUE('{"t":true}', '$.t' RETURNING BOOLEAN) AS bool,
    JSON_VALUE('{"i":12}', '$.i' RETURNING INT DEFAULT 1 ON EMPTY) AS whole,
    JSON_VALUE('{"r":0.125}', '$.r' RETURNING DOUBLE) AS real_number
FROM documents;

CREATE TABLE parts (
    id INT,
    whole STRING,
    items STRING,
    every_item STRING,
    conditional STRING,
    unconditional STRING,
    empties STRING,
    both_keys STRING,
    slice STRING,
    texts ARRAY<STRING>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/parts',
    'format' = 'json'
);

INSERT INTO parts
SELECT
    id,
    JSON_QUERY(doc, '$') AS whole,
    JSON_QUERY(doc, '$.b') AS items,
    JSON_QUERY(doc, 'lax $.b[*].c') AS every_item,
    JSON_QUERY(doc, 'lax $.a' WITH CONDITIONAL ARRAY WRAPPER) AS conditional,
    JSON_QUERY(doc, '$.b' WITH UNCONDITIONAL WRAPPER) AS unconditional,
    JSON_QUERY(doc, 'lax $.zz' EMPTY OBJECT ON EMPTY EMPTY ARRAY ON ERROR) AS empties,
    JSON_QUERY(doc, '$[''a'',''g'']') AS both_keys,
    JSON_QUERY(doc, '$[1:3]') AS slice,
    JSON_QUERY(doc, '$.b' RETURNING ARRAY<STRING> WITHOUT ARRAY WRAPPER) AS texts
FROM documents;

CREATE TABLE tests (
    id INT,
    there BOOLEAN,
    there_null BOOLEAN,
    on_true BOOLEAN,
    on_unknown BOOLEAN,
    is_json BOOLEAN,
    is_not BOOLEAN,
    is_value BOOLEAN,
    is_scalar BOOLEAN,
    is_array BOOLEAN,
    is_object BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tests',
    'format' = 'json'
);

INSERT INTO tests
SELECT
    id,
    JSON_EXISTS(doc, '$.a') AS there,
    JSON_EXISTS(doc, '$.d.e') AS there_null,
    JSON_EXISTS(doc, 'strict $.zz' TRUE ON ERROR) AS on_true,
    JSON_EXISTS(doc, 'strict $.zz' UNKNOWN ON ERROR) AS on_unknown,
    doc IS JSON AS is_json,
    doc IS NOT JSON AS is_not,
    name IS JSON VALUE AS is_value,
    doc IS JSON SCALAR AS is_scalar,
    doc IS JSON ARRAY AS is_array,
    doc IS JSON OBJECT AS is_object
FROM documents;

CREATE TABLE built (
    id INT,
    object STRING,
    absent STRING,
    nested STRING,
    list STRING,
    list_with_nulls STRING,
    empty_object STRING,
    number STRING,
    text STRING,
    items STRING,
    record STRING,
    quoted STRING,
    unquoted STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/built',
    'format' = 'json'
);

INSERT INTO built
SELECT
    id,
    JSON_OBJECT('name' VALUE name, KEY 'n' VALUE n, 'a' VALUE x) AS object,
    JSON_OBJECT(KEY 'name' VALUE name, KEY 'n' VALUE n ABSENT ON NULL) AS absent,
    JSON_OBJECT('in' VALUE JSON_OBJECT('n' VALUE n), 'list' VALUE JSON_ARRAY(n, name)) AS nested,
    JSON_ARRAY(n, name, TRUE, CAST(1.50 AS DECIMAL(5, 2))) AS list,
    JSON_ARRAY(n, name NULL ON NULL) AS list_with_nulls,
    JSON_OBJECT() AS empty_object,
    JSON_STRING(x) AS number,
    JSON_STRING(name) AS text,
    JSON_STRING(ARRAY[n, 1]) AS items,
    JSON_STRING(ROW(name, TIMESTAMP '2024-02-29 12:30:00', X'00FF')) AS record,
    JSON_QUOTE(name) AS quoted,
    JSON_UNQUOTE(name) AS unquoted
FROM documents;
