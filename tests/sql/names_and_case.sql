-- Names differ by case; words of SQL, blanks, dots and quotes in quoted names; comments anywhere.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE `Orders` (
    id INT,
    `ID` AS id * 10, -- another column
    `Id` AS id * 100,
    customer STRING,
    `select` AS 'word',
    `a.b` AS 'dot',
    `it``s` AS 'tick',
    `two  blanks` AS 'blanks'
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);
/* a comment; with 'quotes' and ; semicolons */
CREATE TABLE orders (id INT) WITH ('connector' = 'filesystem', 'path' = '${data}/late.json', 'format' = 'json');

CREATE TABLE outcome (
    a INT,
    b INT,
    c INT,
    d STRING,
    e STRING,
    f STRING,
    g STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/outcome',
    'format' = 'json'
);

INSERT /* here */ INTO outcome -- and here
SELECT id, `ID`, o.`Id`, o . `select`, `a.b`, `it``s`, `two  blanks` -- 'not a string
FROM /* there */ `Orders` AS o WHERE id <= 2 /* end */;
select-- glued
`COUNT` FROM (select id as `COUNT` from `Orders` where id = 3) as `T` where `T`.`COUNT` = 3;
