-- Hashes, base64, hex, URLs, JSON paths, key-value texts.
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

CREATE TABLE hashes (
    id INT,
    md5 CHAR(32),
    sha1 CHAR(40),
    sha224 CHAR(56),
    sha256 CHAR(64),
    sha512 CHAR(128),
    sha2 VARCHAR(128),
    base64 STRING,
    unbase64 STRING,
    hex_s STRING,
    hex_n STRING,
    bin_n STRING,
    chr_n STRING,
    decoded STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hashes',
    'format' = 'json'
);

INSERT INTO hashes
SELECT
    id,
    MD5(s) AS md5,
    SHA1(s) AS sha1,
    SHA224(s) AS sha224,
    SHA256(s) AS sha256,
    SHA512(s) AS sha512,
    SHA2(s, 256) AS sha2,
    TO_BASE64(s) AS base64,
    FROM_BASE64(TO_BASE64(s)) AS unbase64,
    HEX(s) AS hex_s,
    HEX(n) AS hex_n,
    BIN(n) AS bin_n,
    CHR(n + 65) AS chr_n,
    DECODE(ENCODE(s, 'UTF-16LE'), 'UTF-16LE') AS decoded
FROM strings;

CREATE TABLE urls (
    id INT,
    url_host STRING,
    url_protocol STRING,
    url_path STRING,
    url_query STRING,
    url_query_y STRING,
    url_ref STRING,
    url_authority STRING,
    url_userinfo STRING,
    url_file STRING,
    kv STRING,
    encoded STRING,
    decoded STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/urls',
    'format' = 'json'
);

INSERT INTO urls
SELECT
    id,
    PARSE_URL(s, 'HOST') AS url_host,
    PARSE_URL(s, 'PROTOCOL') AS url_protocol,
    PARSE_URL(s, 'PATH') AS url_path,
    PARSE_URL(s, 'QUERY') AS url_query,
    PARSE_URL(s, 'QUERY', 'y') AS url_query_y,
    PARSE_URL(s, 'REF') AS url_ref,
    PARSE_URL(s, 'AUTHORITY') AS url_authority,
    PARSE_URL(s, 'USERINFO') AS url_userinfo,
    PARSE_URL(s, 'FILE') AS url_file,
    STR_TO_MAP(s, ';', '=')['key'] AS kv,
    URL_ENCODE(s) AS encoded,
    URL_DECODE('a%20b+c') AS decoded
FROM strings;

CREATE TABLE jsons (
    id INT,
    a STRING,
    c INT,
    d1 STRING,
    b STRING,
    d STRING,
    has_c BOOLEAN,
    is_json BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/jsons',
    'format' = 'json'
);

INSERT INTO jsons
SELECT
    id,
    JSON_VALUE(doc, '$.a') AS a,
    JSON_VALUE(doc, '$.b.c' RETURNING INT) AS c,
    JSON_VALUE(doc, '$.d[1]') AS d1,
    JSON_QUERY(doc, '$.b') AS b,
    JSON_QUERY(doc, '$.d') AS d,
    JSON_EXISTS(doc, '$.b.c') AS has_c,
    IS_JSON AS is_json
FROM (SELECT id, doc, doc IS JSON AS IS_JSON FROM (VALUES
    (1, CAST('{"a":"x","b":{"c":7},"d":[1,2.5,"z"]}' AS STRING)), (2, CAST('{"a":null}' AS STRING)),
    (3, CAST('not json' AS STRING)), (4, CAST(NULL AS STRING)), (5, CAST('{"a":true,"d":[]}' AS STRING))
) AS t (id, doc)) AS u;
