-- One source read once into several sinks by a statement set; semicolons and END inside strings, CASE ... END before a semicolon.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    express BOOLEAN,
    placed TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE expensive (
    id INT,
    label STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/expensive',
    'format' = 'json'
);

CREATE TABLE cheap (
    id INT,
    price DECIMAL(8, 2),
    sort STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cheap',
    'format' = 'csv'
);

CREATE TABLE everything (
    note STRING,
    id INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/everything',
    'format' = 'json'
);

EXECUTE STATEMENT SET
BEGIN
    INSERT INTO expensive
    SELECT id, 'BEGIN; not the END; of ' || item /* a comment; with END; */
    FROM orders WHERE price > 900;

    INSERT INTO cheap (id, sort)
    SELECT id, CASE WHEN express THEN 'fast' ELSE 'it''s slow; really' END
    FROM orders WHERE price < 30; -- END;

    INSERT INTO everything
    SELECT customer, id FROM orders WHERE item = 'anvil' AND CASE WHEN express THEN quantity > 3 ELSE quantity > 6 END;
END;
