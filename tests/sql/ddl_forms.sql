-- Ways to write DDL and DML: IF NOT EXISTS, TEMPORARY, LIKE, COMMENT, quoted names, hints, INSERT ... VALUES, DROP, keywords in any case, comments in odd places.
set 'table.local-time-zone' = 'UTC';

create table if not exists `default_catalog`.`default_database`.orders (
    id int comment 'the number; of the order',
    customer string, -- who
    item varchar(20),
    `quantity` integer,
    price decimal(8, 2),
    placed timestamp(3) not null,
    /* the row time; of ; orders */
    constraint pk primary key (id) not enforced,
    watermark for placed as placed - interval '1' minute
) comment 'orders of two days' with (
    'connector' = 'filesystem',
    'path' = '${data}/none.json',
    'format' = 'json'
);

CREATE TABLE IF NOT EXISTS orders (ignored INT) WITH ('connector' = 'nope');

CREATE TEMPORARY TABLE `odd names` (
    `an id` INT,
    `Größe` STRING,
    `with ``tick` DECIMAL(8, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/odd names',
    'format' = 'json'
);

CREATE TABLE base (
    k STRING,
    v INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/base',
    'format' = 'json'
);

CREATE TABLE derived (
    extra BOOLEAN
) WITH (
    'path' = '${out}/derived'
) LIKE base;

CREATE TABLE gone (a INT) WITH ('connector' = 'blackhole');

DROP TABLE gone;

CREATE TABLE gone WITH ('connector' = 'blackhole') LIKE base (EXCLUDING OPTIONS);

CREATE VIEW v AS SELECT id, customer FROM orders /*+ OPTIONS('path' = '${data}/orders.json') */ WHERE quantity >= 12;

INSERT INTO base VALUES ('a', 1), ('b', 2), (CAST(NULL AS STRING), -3);

INSERT INTO base (v) VALUES (7);

INSERT INTO derived SELECT COALESCE(customer, 'none'), id, id > 200 FROM v;

insert into `odd names`
select id as `x y`, item, price from orders /*+ OPTIONS('path' = '${data}/orders.json') */ as o where o.price < 20.5;

INSERT INTO gone SELECT customer, id FROM v;
