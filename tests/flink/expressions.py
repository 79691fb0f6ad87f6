#!/usr/bin/env python3
"""Random expressions over every type and function, for Flink and Tidemill to agree on.

    expressions.py SEED COUNT     writes COUNT expressions over the columns of `DDL`, one a line
    expressions.py --ddl          writes the columns
    expressions.py --rows         writes the rows, one JSON object a line

An expression is drawn from a grammar that knows types, so that most are valid; one in twelve puts an
argument of another type somewhere. Texts are drawn from pools that make functions meet: numbers, dates,
JSON, regular expressions. A line never holds a tab or a line break.
"""

import json
import random
import sys

DDL = [
    ("id", "INT"),
    ("b", "BOOLEAN"),
    ("ti", "TINYINT"),
    ("si", "SMALLINT"),
    ("i", "INT"),
    ("l", "BIGINT"),
    ("f", "FLOAT"),
    ("d", "DOUBLE"),
    ("dc", "DECIMAL(10, 2)"),
    ("dw", "DECIMAL(38, 10)"),
    ("ch", "CHAR(4)"),
    ("vc", "VARCHAR(12)"),
    ("s", "STRING"),
    ("sn", "STRING"),
    ("st", "STRING"),
    ("js", "STRING"),
    ("bi", "BYTES"),
    ("dt", "DATE"),
    ("tm", "TIME(0)"),
    ("ts", "TIMESTAMP(3)"),
    ("tu", "TIMESTAMP(6)"),
    ("lt", "TIMESTAMP_LTZ(3)"),
    ("ai", "ARRAY<INT>"),
    ("av", "ARRAY<STRING>"),
    ("ad", "ARRAY<DOUBLE>"),
    ("m", "MAP<STRING, INT>"),
    ("r", "ROW<a INT, t STRING>"),
]

ROWS = [
    dict(id=1, b=True, ti=1, si=200, i=7, l=9000000000, f=1.5, d=2.25, dc="12.34", dw="1234567890.0123456789", ch="abcd",
         vc="hello", s="Hello, World", sn="42", st="2024-02-29 12:34:56", js='{"a":1,"b":[1,2,{"c":"x"}],"d":{"e":null}}',
         bi="aGVsbG8=", dt="2024-02-29", tm="12:34:56", ts="2024-02-29 12:34:56.789", tu="2024-03-10 02:30:00.123456",
         lt="2024-03-10 07:30:00Z", ai=[1, 2, 3, 2], av=["a", "b", None, "a"], ad=[1.5, None, 0.5],
         m={"z": None, "k": 1}, r=dict(a=5, t="row")),
    dict(id=2, b=False, ti=-128, si=-1, i=-2147483648, l=-1, f=-0.1, d=-1e10, dc="-0.01", dw="-0.0000000001", ch="x   ",
         vc="", s="", sn="-1.5", st="1969-12-31 23:59:59.5", js='[1,2.50,"three",null,true]', bi="", dt="1969-12-31",
         tm="00:00:00", ts="1969-12-31 23:59:59.5", tu="0001-01-01 00:00:00", lt="1969-12-31 23:59:59.999Z", ai=[],
         av=[], ad=[], m={}, r=dict(a=None, t=None)),
    dict(id=3, b=None, ti=None, si=None, i=None, l=None, f=None, d=None, dc=None, dw=None, ch=None, vc=None, s=None,
         sn=None, st=None, js=None, bi=None, dt=None, tm=None, ts=None, tu=None, lt=None, ai=None, av=None, ad=None,
         m=None, r=None),
    dict(id=4, b=True, ti=127, si=32767, i=2147483647, l=9223372036854775807, f=3.4e38, d=1e300, dc="99999999.99",
         dw="9999999999999999999999999999", ch="a b ", vc="straße ß", s="naïve 😀 日本語 a%b_c", sn=" 1e3 ", st="not a date",
         js='not json', bi="AP+A", dt="9999-12-31", tm="23:59:59", ts="9999-12-31 23:59:59.999",
         tu="2024-11-03 01:30:00.5", lt="2024-11-03 06:30:00.5Z", ai=[-1, None, 2147483647], av=["", "ß", "ab,c"],
         ad=[-0.0, 0.0, 1e300], m={"": 0, "k": -5}, r=dict(a=-1, t="")),
    dict(id=5, b=False, ti=0, si=0, i=0, l=0, f=0.0, d=0.0, dc="0", dw="0", ch="  a ", vc="a,b;c=d", s="a1b22c333 a1",
         sn="0", st="2023-1-5", js='{"a":"x","b":[],"e":1.0,"f":12345678901234567890}', bi="AAEC", dt="2023-01-01",
         tm="01:02:03", ts="2023-01-01 00:00:00", tu="2023-12-31 23:59:59.999999", lt="2023-07-01 12:00:00Z",
         ai=[5], av=["x"], ad=[3.0], m={"a": 1, "b": 2}, r=dict(a=0, t="t")),
]

COLUMNS = {
    "b": ["b"], "ti": ["ti"], "si": ["si"], "i": ["i"], "l": ["l"], "f": ["f"], "d": ["d"], "dc": ["dc", "dw"],
    "s": ["s", "s", "sn", "st", "vc", "ch", "js"], "bi": ["bi"], "dt": ["dt"], "tm": ["tm"], "ts": ["ts", "tu"],
    "lt": ["lt"], "ai": ["ai"], "av": ["av"], "ad": ["ad"], "m": ["m"], "r": ["r"], "js": ["js"],
}

TEXTS = ["", " ", "a", "b", "ab", "abc", "Hello", "hello world", "a,b,c", "x=1,y=2", "ß", "é", "日本", "😀", "%", "_",
         "l", "o", "A1", "TRUE", "no", "12", "-7", "3.14", "1e2", "NaN", "0x1F", "2024-02-29", "2023-12-31 23:59:59",
         "12:34:56", "http://u:p@h.com:80/p/a?k=v&z=1#r", "127.0.0.1", "00ff", "aGVsbG8=", "it's"]
JSONS = ["{}", "[]", "1", "\"x\"", "null", "{\"a\":1}", "[1,[2,3],{\"b\":null}]", "{\"a\":{\"b\":[10,20]}}", "{\"a\":true,\"c\":1.50}", "{a}"]
PATHS = ["$", "$.a", "$.b", "lax $.a", "strict $.a", "$.b[0]", "$.b[2].c", "$[0]", "$.a.b[1]", "lax $.b[*]", "$.d.e", "$['a']", "strict $.zz", "lax $.zz", "$[1]"]
PATTERNS = ["a", "[a-z]+", "(\\\\d+)", "([a-z])(\\\\d*)", "^h", "o$", ".", "a|b", "", "(a)?b", "[^a-z]", "\\\\s+", "(?i)HELLO", "l{2}"]
UNITS = ["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]
DATE_PATTERNS = ["yyyy-MM-dd", "yyyy-MM-dd HH:mm:ss", "dd/MM/yyyy", "yyyyMMdd", "HH:mm", "yyyy-MM-dd HH:mm:ss.SSS", "EEE, d MMM yyyy", "yy-M-d"]
ZONES = ["UTC", "America/New_York", "Asia/Tokyo", "Europe/Berlin", "GMT+08:00", "Nowhere"]
CHARSETS = ["UTF-8", "US-ASCII", "ISO-8859-1", "UTF-16BE", "UTF-16LE", "UTF-16"]

NUMERIC = ["ti", "si", "i", "l", "f", "d", "dc"]
INTEGER = ["ti", "si", "i", "l"]
COMPARABLE = NUMERIC + ["s", "dt", "ts", "lt", "tm", "b"]
TEMPORAL = ["dt", "ts", "lt"]
SCALAR = NUMERIC + ["b", "s", "bi", "dt", "tm", "ts", "lt"]
NESTED = ["ai", "av", "ad", "m", "r"]

# Result type, and templates: {x} draws an expression of type x, {x1} the same class again, {'pool} a literal.
# A class in capitals is drawn once a template, so that all its places agree.
CLASSES = {"N": NUMERIC, "Z": INTEGER, "C": COMPARABLE, "T": TEMPORAL, "A": ["ai", "av", "ad"], "X": SCALAR, "Y": SCALAR + NESTED}

RULES = {
    "b": """
        {C} = {C};{C} <> {C};{C} < {C};{C} <= {C};{C} > {C};{C} >= {C};{N} = {N2};{N} < {N2};{N} >= {N2}
        {Y} IS NULL;{Y} IS NOT NULL;{C} IS DISTINCT FROM {C};{C} IS NOT DISTINCT FROM {C};{s} = {X}
        {C} BETWEEN {C} AND {C};{C} NOT BETWEEN {C} AND {C};{C} BETWEEN SYMMETRIC {C} AND {C}
        {s} LIKE {'like};{s} NOT LIKE {'like};{s} SIMILAR TO {'similar};{s} LIKE {s};{s} LIKE {'like} ESCAPE '!'
        {C} IN ({C}, {C}, {C});{C} NOT IN ({C}, {C});{i} IN (1, 2, 3, 7, 0);{s} IN ('a', '', 'Hello', 'ß')
        {b} AND {b};{b} OR {b};NOT {b};{b} IS TRUE;{b} IS FALSE;{b} IS NOT TRUE;{b} IS UNKNOWN;{b} IS NOT UNKNOWN
        REGEXP({s}, {'pattern});STARTSWITH({s}, {s});ENDSWITH({s}, {s});IS_ALPHA({s});IS_DECIMAL({s});IS_DIGIT({s})
        {js} IS JSON;{js} IS NOT JSON;{js} IS JSON OBJECT;{js} IS JSON ARRAY;{js} IS JSON SCALAR;{s} IS JSON VALUE
        JSON_EXISTS({js}, {'path});JSON_EXISTS({js}, {'path} TRUE ON ERROR);JSON_EXISTS({js}, {'path} UNKNOWN ON ERROR)
        ARRAY_CONTAINS({ai}, {i});ARRAY_CONTAINS({av}, {s});CAST({N} AS BOOLEAN);TRY_CAST({s} AS BOOLEAN)
        ({T}, {T}) OVERLAPS ({T}, {T});({ts}, {id}) OVERLAPS ({ts}, {id});IF({b}, {b}, {b});{ai} = {ai};{m} = {m};{r} = {r}
    """,
    "ti": """CAST({N} AS TINYINT);{ti} + {ti};{ti} * {ti};{ti} / {ti};{ti} % {ti};- {ti};ABS({ti});TRY_CAST({s} AS TINYINT);SIGN({ti});{ti} - {ti}""",
    "si": """CAST({N} AS SMALLINT);{si} + {ti};{si} - {si};{si} * {si};MOD({si}, {si});TRY_CAST({s} AS SMALLINT);ABS({si})""",
    "i": """
        {i} + {i};{i} - {i};{i} * {i};{i} / {i};{i} % {i};MOD({i}, {si});- {i};ABS({i});SIGN({i});CAST({N} AS INT);CAST({b} AS INT)
        TRY_CAST({s} AS INT);CHAR_LENGTH({s});CHARACTER_LENGTH({s});POSITION({s} IN {s});INSTR({s}, {s});LOCATE({s}, {s})
        LOCATE({s}, {s}, {i});ASCII({s});REGEXP_COUNT({s}, {'pattern});REGEXP_INSTR({s}, {'pattern});TIMESTAMPDIFF({'unit}, {T}, {T})
        CARDINALITY({ai});CARDINALITY({av});CARDINALITY({m});ARRAY_POSITION({ai}, {i});ARRAY_POSITION({av}, {s})
        {ai}[{'small}];{m}['k'];{m}[{s}];({r}).a;ELEMENT({ai});ARRAY_MAX({ai});ARRAY_MIN({ai});COALESCE({i}, {i});NULLIF({i}, {i})
        IF({b}, {i}, {i});CASE WHEN {b} THEN {i} ELSE {i} END;CASE {i} WHEN {i} THEN {i} WHEN {i} THEN {i} END;IFNULL({i}, {i})
        GREATEST({i}, {i}, {i});LEAST({i}, {i});ROUND({i}, {'small});TRUNCATE({i}, {'small});FLOOR({i});CEIL({i});{i} + {ti};{si} * {i}
        JSON_VALUE({js}, {'path} RETURNING INT);CAST({dc} AS INT);CAST({d} AS INT)
    """,
    "l": """
        {l} + {l};{l} - {i};{l} * {l};{l} / {l};{l} % {i};- {l};ABS({l});SIGN({l});CAST({N} AS BIGINT);TRY_CAST({s} AS BIGINT)
        EXTRACT({'field} FROM {T});EXTRACT({'tfield} FROM {tm});EXTRACT({'tfield} FROM {ts});YEAR({dt});QUARTER({ts});MONTH({dt})
        WEEK({dt});DAYOFYEAR({dt});DAYOFMONTH({ts});DAYOFWEEK({dt});HOUR({ts});MINUTE({ts});SECOND({ts});HOUR({tm})
        UNIX_TIMESTAMP({st});UNIX_TIMESTAMP({s}, {'dateformat});INET_ATON({s});COALESCE({l}, {i});GREATEST({l}, {i});ROUND({l}, {'small})
        EXTRACT({'ifield} FROM {id});EXTRACT({'mfield} FROM {iy});EXTRACT({'field} FROM {lt})
    """,
    "f": """CAST({N} AS FLOAT);{f} + {f};{f} * {i};{f} / {f};- {f};ABS({f});TRY_CAST({s} AS FLOAT);SIGN({f});FLOOR({f});CEIL({f});{f} - {ti};{f} % {f}""",
    "d": """
        {d} + {d};{d} - {N};{d} * {d};{d} / {N};{d} % {d};- {d};ABS({d});SIGN({d});CAST({N} AS DOUBLE);TRY_CAST({s} AS DOUBLE)
        POWER({N}, {N2});SQRT({N});LN({N});LOG10({N});LOG2({N});LOG({N});LOG({N}, {N});EXP({N});SIN({N});COS({N});TAN({N});COT({N})
        ASIN({N});ACOS({N});ATAN({N});ATAN2({N}, {N});SINH({N});COSH({N});TANH({N});DEGREES({N});RADIANS({N});PI();E()
        FLOOR({d});CEIL({d});CEILING({d});ROUND({d}, {'small});TRUNCATE({d}, {'small});ROUND({d});TRUNCATE({d});{f} + {d};{dc} * {d}
        {ad}[{'small}];ARRAY_MAX({ad});IF({b}, {d}, {i});COALESCE({d}, {dc});GREATEST({d}, {f});JSON_VALUE({js}, {'path} RETURNING DOUBLE)
        POWER({d}, 2);POWER(2, {i});EXP({dc});SQRT({dc});RAND(3) * 0
    """,
    "dc": """
        {dc} + {dc};{dc} - {dc};{dc} * {dc};{dc} / {dc};{dc} % {dc};{dc} + {i};{dc} * {l};{i} / {dc};{dc} / 3;{dc} - {ti};- {dc};ABS({dc});SIGN({dc})
        CAST({N} AS DECIMAL({'ps}));TRY_CAST({s} AS DECIMAL({'ps}));ROUND({dc}, {'small});TRUNCATE({dc}, {'small});ROUND({dc});TRUNCATE({dc});FLOOR({dc});CEIL({dc})
        MOD({dc}, {i});COALESCE({dc}, {i});IF({b}, {dc}, {i});CASE WHEN {b} THEN {dc} WHEN {b} THEN {dc} END;GREATEST({dc}, {dc});NULLIF({dc}, {dc})
    """,
    "s": """
        {s} || {s};CONCAT({s}, {s}, {s});CONCAT_WS({'text}, {s}, {s});UPPER({s});LOWER({s});INITCAP({s});TRIM({s});TRIM(LEADING {'text} FROM {s})
        TRIM(BOTH {'text} FROM {s});TRIM(TRAILING {'text} FROM {s});LTRIM({s});RTRIM({s});BTRIM({s});LTRIM({s}, {'text});RTRIM({s}, {'text});BTRIM({s}, {'text})
        REPEAT({s}, {'small});REPLACE({s}, {s}, {s});REVERSE({s});LEFT({s}, {'small});RIGHT({s}, {'small});LPAD({s}, {'small}, {'text});RPAD({s}, {'small}, {'text})
        SUBSTRING({s} FROM {'small});SUBSTRING({s} FROM {'small} FOR {'small});SUBSTR({s}, {'small});SUBSTR({s}, {'small}, {'small});SUBSTRING({s}, {i}, {i})
        OVERLAY({s} PLACING {s} FROM {'small});OVERLAY({s} PLACING {s} FROM {'small} FOR {'small});TRANSLATE({s}, {'text}, {'text});SPLIT_INDEX({s}, {'text}, {'small})
        REGEXP_REPLACE({s}, {'pattern}, {'text});REGEXP_EXTRACT({s}, {'pattern}, {'digit});REGEXP_EXTRACT({s}, {'pattern});REGEXP_SUBSTR({s}, {'pattern})
        ELT({'digit}, {s}, {s});CHR({i});CHR({'code});TO_BASE64({s});FROM_BASE64({s});HEX({s});HEX({Z});BIN({Z});MD5({s});SHA1({s});SHA224({s});SHA256({s});SHA384({s});SHA512({s});SHA2({s}, 256)
        PARSE_URL({s}, {'urlpart});PARSE_URL({s}, 'QUERY', 'k');URL_ENCODE({s});URL_DECODE({s});INET_NTOA({l});INET_NTOA({'code});PRINTF('%d-%s', {i}, {s});PRINTF('%5.2f', {d})
        JSON_QUOTE({s});JSON_UNQUOTE({s});JSON_UNQUOTE({js});JSON_VALUE({js}, {'path});JSON_VALUE({js}, {'path} DEFAULT 'e' ON EMPTY DEFAULT 'r' ON ERROR);JSON_VALUE({js}, {'path} ERROR ON EMPTY)
        JSON_QUERY({js}, {'path});JSON_QUERY({js}, {'path} WITH CONDITIONAL ARRAY WRAPPER);JSON_QUERY({js}, {'path} WITH UNCONDITIONAL ARRAY WRAPPER);JSON_QUERY({js}, {'path} EMPTY OBJECT ON EMPTY EMPTY ARRAY ON ERROR)
        JSON_STRING({Y});JSON_OBJECT('k' VALUE {Y});JSON_OBJECT(KEY 'a' VALUE {X}, KEY 'b' VALUE {s} ABSENT ON NULL);JSON_ARRAY({X}, {s});JSON_ARRAY({X}, {s} NULL ON NULL)
        DATE_FORMAT({ts}, {'dateformat});DATE_FORMAT({lt}, {'dateformat});DATE_FORMAT({st}, {'dateformat});FROM_UNIXTIME({l});FROM_UNIXTIME({i}, {'dateformat});CONVERT_TZ({st}, {'zone}, {'zone})
        CAST({Y} AS STRING);CAST({X} AS VARCHAR(5));CAST({X} AS CHAR(6));CAST({s} AS VARCHAR(3));CAST({ts} AS STRING);CAST({iy} AS STRING);CAST({id} AS STRING);CAST({bi} AS STRING);DECODE({bi}, {'charset})
        DECODE(ENCODE({s}, {'charset}), {'charset});{av}[{'small}];({r}).t;COALESCE({s}, {s});NULLIF({s}, {s});IF({b}, {s}, {s});CASE WHEN {b} THEN {'text} ELSE {s} END;IFNULL({s}, {'text});ARRAY_JOIN({av}, {'text});ARRAY_JOIN({av}, {'text}, {'text})
        GREATEST({s}, {s});LEAST({s}, {s});STR_TO_MAP({s})[{'text}];TYPEOF({Y});ARRAY_MAX({av})
    """,
    "js": """JSON_OBJECT('a' VALUE {X}, 'b' VALUE {i});JSON_ARRAY({i}, {s});JSON_STRING({Y})""",
    "st": """CAST({ts} AS STRING);CAST({dt} AS STRING);DATE_FORMAT({ts}, 'yyyy-MM-dd HH:mm:ss')""",
    "bi": """ENCODE({s}, {'charset});CAST({s} AS BYTES);UNHEX({s});UNHEX(HEX({s}));CAST({bi} AS VARBINARY(3));CAST({bi} AS BINARY(4));COALESCE({bi}, {bi})""",
    "dt": """
        CAST({ts} AS DATE);CAST({lt} AS DATE);TRY_CAST({st} AS DATE);TO_DATE({st});TO_DATE({s}, {'dateformat});{dt} + {id};{dt} - {iy};{dt} + {iy};FLOOR({dt} TO {'dunit});CEIL({dt} TO {'dunit})
        TIMESTAMPADD({'dunit}, {'small}, {dt});COALESCE({dt}, {dt});DATE '2024-02-29';GREATEST({dt}, {dt})
    """,
    "tm": """CAST({ts} AS TIME);CAST({lt} AS TIME);TRY_CAST({s} AS TIME);{tm} + {id};{tm} - {id};TIME '23:59:59';FLOOR({tm} TO HOUR);CEIL({tm} TO MINUTE)""",
    "ts": """
        CAST({dt} AS TIMESTAMP);CAST({lt} AS TIMESTAMP(3));CAST({ts} AS TIMESTAMP(0));CAST({ts} AS TIMESTAMP(6));TRY_CAST({st} AS TIMESTAMP(3));TO_TIMESTAMP({st});TO_TIMESTAMP({st}, {'dateformat})
        {ts} + {id};{ts} - {id};{ts} + {iy};{ts} - {iy};FLOOR({ts} TO {'unit});CEIL({ts} TO {'unit});TIMESTAMPADD({'unit}, {'small}, {ts});TIMESTAMPADD({'unit}, {'small}, {dt});COALESCE({ts}, {ts})
        TIMESTAMP '2024-02-29 23:59:59.999';IF({b}, {ts}, {ts});TRY_CAST({s} AS TIMESTAMP);CAST({tm} AS TIMESTAMP(3))
    """,
    "lt": """CAST({ts} AS TIMESTAMP_LTZ(3));CAST({dt} AS TIMESTAMP_LTZ(3));TO_TIMESTAMP_LTZ({l}, 3);TO_TIMESTAMP_LTZ({i}, 0);{lt} + {id};{lt} - {iy};FLOOR({lt} TO {'unit});CEIL({lt} TO {'unit});COALESCE({lt}, {lt});TRY_CAST({st} AS TIMESTAMP_LTZ(3));TO_TIMESTAMP_LTZ({st})""",
    "iy": """INTERVAL '1' YEAR;INTERVAL '14' MONTH;INTERVAL '-1-2' YEAR TO MONTH;{iy} + {iy};- {iy};{iy} * {'small}""",
    "id": """INTERVAL '1' DAY;INTERVAL '90' MINUTE;INTERVAL '10 00:00:00.004' DAY TO SECOND;INTERVAL '-5' SECOND;{id} + {id};- {id};{id} * {'small};INTERVAL '1' WEEK""",
    "ai": """
        ARRAY[{i}, {i}];ARRAY_APPEND({ai}, {i});ARRAY_PREPEND({ai}, {i});ARRAY_DISTINCT({ai});ARRAY_REVERSE({ai});ARRAY_REMOVE({ai}, {i});ARRAY_SLICE({ai}, {'small}, {'small});ARRAY_SLICE({ai}, {'small})
        ARRAY_SORT({ai});ARRAY_SORT({ai}, {b});ARRAY_SORT({ai}, {b}, {b});ARRAY_UNION({ai}, {ai});ARRAY_CONCAT({ai}, {ai});ARRAY_EXCEPT({ai}, {ai});ARRAY_INTERSECT({ai}, {ai});MAP_VALUES({m});COALESCE({ai}, {ai})
    """,
    "av": """
        ARRAY[{s}, {'text}];ARRAY_APPEND({av}, {s});ARRAY_PREPEND({av}, {s});ARRAY_DISTINCT({av});ARRAY_REVERSE({av});ARRAY_REMOVE({av}, {s});ARRAY_SORT({av});ARRAY_SORT({av}, FALSE);ARRAY_UNION({av}, {av})
        ARRAY_EXCEPT({av}, {av});ARRAY_INTERSECT({av}, {av});ARRAY_CONCAT({av}, {av}, {av});MAP_KEYS({m});SPLIT({s}, {'text});REGEXP_EXTRACT_ALL({s}, {'pattern}, {'digit});REGEXP_EXTRACT_ALL({s}, {'pattern});CAST({ai} AS ARRAY<STRING>)
    """,
    "ad": """ARRAY[{d}, {i}];CAST({ai} AS ARRAY<DOUBLE>);ARRAY_DISTINCT({ad});ARRAY_SORT({ad});ARRAY_CONCAT({ad}, {ad});ARRAY_APPEND({ad}, {d});ARRAY_REVERSE({ad})""",
    "m": """MAP['k', {i}];MAP[{s}, {i}, 'k', {i}];MAP_FROM_ARRAYS(ARRAY['k', 'l'], ARRAY[{i}, {i}]);MAP_UNION({m}, {m});COALESCE({m}, {m});{m}""",
    "r": """ROW({i}, {s});CAST(ROW({i}, {s}) AS ROW<a INT, t STRING>);COALESCE({r}, {r})""",
}
# What is not a type of its own: shown as a text, an array, ... at the top only.
RULES["top"] = """
    MAP_ENTRIES({m});STR_TO_MAP({s});STR_TO_MAP({s}, {'text}, {'text});MAP[{i}, {s}];ARRAY[{ai}, {ai}];ARRAY[{r}];ROW({Y}, {X});ARRAY[{X}, {X}];MAP['a', {Y}];CAST({m} AS MAP<STRING, BIGINT>)
    CAST({N} AS {'numeric});CAST({s} AS {'castable});CAST({X} AS {'castable});TRY_CAST({X} AS {'castable});COALESCE({N}, {N2});CASE WHEN {b} THEN {N} ELSE {N2} END;{N} + {N2};{N} * {N2};{N} / {N2};{N} - {N2};{N} % {N2};GREATEST({N}, {N2});CAST({id} AS BIGINT);CAST({iy} AS INT);{iy} = {iy};{id} < {id}
    {T} - {T};IF({b}, {N}, {N2});NULLIF({N}, {N2});CAST(CAST({X} AS STRING) AS {'castable});CAST({T} AS {'castable});TRY_CAST({bi} AS {'castable})
"""

CASTABLE = ["BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(10, 2)", "DECIMAL(38, 18)", "CHAR(5)",
            "VARCHAR(4)", "STRING", "BINARY(3)", "VARBINARY(2)", "BYTES", "DATE", "TIME", "TIMESTAMP(0)", "TIMESTAMP(3)", "TIMESTAMP(6)", "TIMESTAMP_LTZ(3)"]
POOLS = {
    "text": TEXTS, "path": PATHS, "pattern": PATTERNS, "dateformat": DATE_PATTERNS, "zone": ZONES, "charset": CHARSETS,
    "like": ["%", "a%", "%b%", "_", "Hel%", "%!%%", "a_c", "", "%ß", "h_llo", "%,%"],
    "similar": ["%", "(a|b)%", "[a-z]+", "H%", "_{3}", ""],
    "urlpart": ["HOST", "PATH", "QUERY", "REF", "PROTOCOL", "FILE", "AUTHORITY", "USERINFO", "NONE"],
}
WORDS = {
    "unit": UNITS, "dunit": ["DAY", "WEEK", "MONTH", "QUARTER", "YEAR"],
    "field": ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOW", "DOY", "EPOCH", "CENTURY", "DECADE", "MILLENNIUM", "ISODOW", "ISOYEAR"],
    "tfield": ["HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"], "ifield": ["DAY", "HOUR", "MINUTE", "SECOND"], "mfield": ["YEAR", "MONTH"],
    "small": ["-3", "-1", "0", "1", "2", "3", "5", "10"], "digit": ["0", "1", "2"], "code": ["65", "233", "256", "0", "-1", "321"],
    "ps": ["10, 2", "5, 0", "38, 18", "4, 3", "20, 5", "38, 0"], "castable": CASTABLE,
    "numeric": ["TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(5, 2)", "DECIMAL(20, 0)", "BOOLEAN", "STRING"],
}
LITERALS = {
    "b": ["TRUE", "FALSE"], "ti": ["CAST(5 AS TINYINT)", "CAST(-100 AS TINYINT)"], "si": ["CAST(300 AS SMALLINT)"],
    "i": ["0", "1", "-1", "2", "10", "100", "2147483647"], "l": ["5000000000", "CAST(7 AS BIGINT)", "1700000000000"],
    "f": ["CAST(0.5 AS FLOAT)", "CAST('1e20' AS FLOAT)"], "d": ["1e0", "-2.5e0", "1e-7", "1.5e15"], "dc": ["1.5", "0.005", "-100.25", "12345678901234.567"],
    "bi": ["X'00ff'", "X'616263'"], "dt": ["DATE '2020-12-31'", "DATE '1900-01-01'"], "tm": ["TIME '12:00:00'"],
    "ts": ["TIMESTAMP '2020-01-31 10:20:30'", "TIMESTAMP '1965-06-15 01:02:03.456'"], "lt": ["TO_TIMESTAMP_LTZ(1700000000, 0)"],
    "ai": ["ARRAY[1, 2, NULL]", "ARRAY[3]"], "av": ["ARRAY['a', 'b']"], "ad": ["ARRAY[1e0, 2e0]"], "m": ["MAP['k', 1]"], "r": ["ROW(1, 'x')"],
    "iy": ["INTERVAL '3' MONTH"], "id": ["INTERVAL '36' HOUR"],
}
NULLS = {
    "b": "BOOLEAN", "ti": "TINYINT", "si": "SMALLINT", "i": "INT", "l": "BIGINT", "f": "FLOAT", "d": "DOUBLE", "dc": "DECIMAL(6, 3)", "s": "STRING",
    "bi": "BYTES", "dt": "DATE", "tm": "TIME", "ts": "TIMESTAMP(3)", "lt": "TIMESTAMP_LTZ(3)", "ai": "ARRAY<INT>", "m": "MAP<STRING, INT>",
}


def templates(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(";") if part.strip()]


TEMPLATES = {name: templates(text) for name, text in RULES.items()}
ALL = [(name, template) for name, found in TEMPLATES.items() for template in found if "{" in template]


def quoted(text):
    return "'" + text.replace("\\\\", "\\").replace("'", "''") + "'"


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def leaf(self, kind):
        draw = self.random.random()
        if kind in ("iy", "id"):
            return self.random.choice([rule for rule in TEMPLATES[kind] if "{" not in rule])
        if kind in ("s", "st", "js") and draw < 0.4:
            return quoted(self.random.choice(JSONS if kind == "js" else TEXTS))
        if kind == "st":
            return self.random.choice(["st", "sn", "s"]) if draw < 0.6 else "st"
        if draw < 0.05 and kind in NULLS:
            return f"CAST(NULL AS {NULLS[kind]})"
        if draw < 0.3 and kind in LITERALS:
            return self.random.choice(LITERALS[kind])
        return self.random.choice(COLUMNS[kind])

    def expression(self, kind, depth):
        if depth <= 0 or self.random.random() < 0.25:
            return self.leaf(kind)
        return self.fill(self.random.choice(TEMPLATES[kind]), depth - 1)

    def fill(self, template, depth, outermost=False):
        drawn = {}
        wrong = self.random.randrange(12) == 0 and not outermost
        out, rest = "", template
        while "{" in rest:
            before, rest = rest.split("{", 1)
            name, rest = rest.split("}", 1)
            out += before
            if name.startswith("'"):
                name = name[1:]
                out += quoted(self.random.choice(POOLS[name])) if name in POOLS else self.random.choice(WORDS[name])
                continue
            kind = name
            if name.rstrip("2") in CLASSES:
                kind = drawn.setdefault(name, self.random.choice(CLASSES[name.rstrip("2")]))
            if wrong and self.random.randrange(3) == 0:
                kind, wrong = self.random.choice(SCALAR + NESTED), False
            part = self.expression(kind, depth)
            plain = part.replace("_", "").isalnum() or (part.startswith("'") and part.count("'") == 2)
            # Operators that stand in operators are put in parentheses.
            call = part[0].isalpha() and part.endswith(")") and part.index("(") == len(part[: part.index("(")].rstrip()) and " " not in part[: part.index("(")] and matched(part)
            out += part if plain or call or part.startswith(("ARRAY[", "MAP[", "DATE '", "TIME '", "TIMESTAMP '", "INTERVAL '")) and part.count("]") <= 1 else f"({part})"
        return out + rest

    def line(self, index):
        # Every template is used again and again, whatever the draw.
        kind, template = ALL[index % len(ALL)]
        return self.fill(template, self.random.choice([0, 0, 1, 1, 2]))


def matched(part):
    """Whether the parenthesis that opens a call is the one that ends it."""
    depth, text = 0, False
    for at, c in enumerate(part):
        text ^= c == "'"
        if not text:
            depth += (c == "(") - (c == ")")
            if c == ")" and depth == 0:
                return at == len(part) - 1
    return False


def main():
    if sys.argv[1] == "--ddl":
        print(", ".join(f"`{name}` {kind}" for name, kind in DDL))
    elif sys.argv[1] == "--rows":
        for row in ROWS:
            print(json.dumps(row, ensure_ascii=False))
    else:
        generator = Generator(int(sys.argv[1]))
        seen, index = set(), 0
        while len(seen) < int(sys.argv[2]):
            line = generator.line(index)
            index += 1
            if line not in seen and len(line) < 300:
                seen.add(line)
                print(line)


main()
