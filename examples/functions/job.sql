-- What the shops of a market sell, minute by minute, with functions that the program `shop` brings along:
-- NET_CENTS and SHOP_OF of a row, TAGS that makes rows of one, and the aggregates WEIGHTED_AVG and MOST_FREQUENT.
SET 'pipeline.name' = 'shops';
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id BIGINT,
    page STRING,
    gross_cents BIGINT,
    tax INT,
    quantity BIGINT,
    note STRING,
    placed TIMESTAMP(3),
    WATERMARK FOR placed AS placed - INTERVAL '30' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${env:ORDERS}', 'format' = 'json');

CREATE VIEW sold AS
SELECT SHOP_OF(page) AS shop, NET_CENTS(gross_cents, tax) AS net_cents, quantity, note, placed FROM orders;

-- Orders without a tag stay, by LEFT JOIN, with NULL for it.
CREATE VIEW notes AS
SELECT placed, tag, nth FROM orders LEFT JOIN LATERAL TABLE(TAGS(note)) AS t(tag, nth) ON TRUE;

CREATE TABLE sales (
    minute TIMESTAMP(3),
    shop STRING,
    orders BIGINT,
    mean_cents DOUBLE,
    favourite STRING
) WITH ('connector' = 'print', 'print-identifier' = 'sales');

CREATE TABLE tagged (
    minute TIMESTAMP(3),
    tag STRING,
    orders BIGINT,
    first_of_all BIGINT
) WITH ('connector' = 'print', 'print-identifier' = 'tagged');

EXECUTE STATEMENT SET BEGIN

INSERT INTO sales
SELECT window_start, shop, COUNT(*), WEIGHTED_AVG(net_cents, quantity), MOST_FREQUENT(note)
FROM TABLE(TUMBLE(TABLE sold, DESCRIPTOR(placed), INTERVAL '1' MINUTE))
WHERE shop IS NOT NULL
GROUP BY window_start, window_end, shop;

INSERT INTO tagged
SELECT window_start, tag, COUNT(*), COUNT(*) FILTER (WHERE nth = 1)
FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(placed), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, tag;

END;
