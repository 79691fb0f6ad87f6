-- What the csv source makes of comments, blanks, quotes, null literals, nested fields, too few and too many fields,
-- with csv.ignore-parse-errors: what cannot be read is NULL, or the line is skipped.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE lenient (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/odd.csv',
    'format' = 'csv',
    'csv.ignore-parse-errors' = 'true',
    'csv.allow-comments' = 'true'
);

CREATE TABLE seen (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/seen',
    'format' = 'json'
);

INSERT INTO seen SELECT * FROM lenient;

CREATE TABLE trimmed (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/odd.csv',
    'format' = 'csv',
    'csv.ignore-parse-errors' = 'true',
    'csv.trim-spaces' = 'true',
    'csv.empty-string-as-null' = 'true',
    'csv.null-literal' = 'NULL',
    'csv.ignore-trailing-unmappable' = 'true',
    'csv.fail-on-missing-columns' = 'true'
);

CREATE TABLE seen_trimmed (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/seen_trimmed',
    'format' = 'json'
);

INSERT INTO seen_trimmed SELECT * FROM trimmed;

CREATE TABLE quoted (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/odd.csv',
    'format' = 'csv',
    'csv.ignore-parse-errors' = 'true',
    'csv.allow-comments' = 'true',
    'csv.quote-character' = '''',
    'csv.escape-character' = '\',
    'csv.allow-trailing-comma' = 'false',
    'csv.null-literal' = ''
);

CREATE TABLE seen_quoted (
    n INT,
    s STRING,
    d DECIMAL(8, 2),
    dt DATE,
    tm TIME(3),
    b BOOLEAN,
    l ARRAY<INT>,
    r ROW<x STRING, y INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/seen_quoted',
    'format' = 'json'
);

INSERT INTO seen_quoted SELECT * FROM quoted;
