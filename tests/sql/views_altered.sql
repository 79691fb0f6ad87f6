-- Views of views, their columns, ALTER VIEW.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    express BOOLEAN,
    placed TIMESTAMP(3),
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE VIEW v (nr, who, much) COMMENT 'three columns' AS SELECT id, customer, price * quantity FROM orders;
CREATE VIEW IF NOT EXISTS v AS SELECT 1 AS nothing;
CREATE VIEW w AS SELECT who, much FROM v WHERE nr <= 20;
CREATE TABLE here (
    who STRING,
    much DECIMAL(20, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/here',
    'format' = 'json'
);

CREATE TABLE there (
    nr INT,
    who STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/there',
    'format' = 'json'
);

INSERT INTO here SELECT * FROM w;
ALTER VIEW v RENAME TO u;
CREATE VIEW x AS SELECT nr, who FROM u;
ALTER VIEW x AS SELECT nr + 1 AS nr, LOWER(who) AS who FROM u WHERE nr > 390;
INSERT INTO there SELECT nr, who FROM x;
SHOW VIEWS;
