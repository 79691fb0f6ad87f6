-- Window joins USING the columns of the window, and NATURAL ones.
CREATE TABLE clicks (
    `user` STRING,
    action STRING,
    amount INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/clicks.json',
    'format' = 'json'
);

CREATE VIEW looks AS SELECT `user`, amount AS l_amount, ts FROM clicks WHERE action = 'view';
CREATE VIEW sales AS SELECT `user`, amount AS r_amount, ts FROM clicks WHERE action = 'buy' AND `user` <> 'ann';
CREATE VIEW looked AS
SELECT window_start, window_end, `user`, COUNT(*) AS looks
FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, `user`;
CREATE VIEW sold AS
SELECT window_start, window_end, `user`, COUNT(*) AS sales
FROM TABLE(TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, `user`;

SELECT * FROM looked JOIN sold USING (window_start, window_end, `user`);
SELECT * FROM looked NATURAL JOIN sold;
SELECT * FROM looked LEFT JOIN sold USING (window_start, window_end, `user`);
SELECT * FROM looked RIGHT JOIN sold USING (window_end, window_start, `user`);
SELECT * FROM looked NATURAL FULL JOIN sold;
SELECT looked.`user`, sold.`user`, looks, sales FROM looked FULL JOIN sold USING (window_start, window_end, `user`);
SELECT window_start, window_end, COUNT(*), SUM(sales) FROM looked JOIN sold USING (window_start, window_end, `user`)
GROUP BY window_start, window_end;
SELECT window_start, window_end, COUNT(*), SUM(sales)
FROM (SELECT * FROM looked LEFT JOIN sold USING (window_start, window_end, `user`)) GROUP BY window_start, window_end;
SELECT * FROM (SELECT `user`, l_amount, window_start, window_end FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)))
NATURAL JOIN (SELECT `user`, r_amount, window_start, window_end FROM TABLE(TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' MINUTE)));
SELECT window_start, `user`, l_amount, r_amount, l_time, r_time
FROM (SELECT window_time AS l_time, * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)))
LEFT JOIN (SELECT window_time AS r_time, * FROM TABLE(TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' MINUTE)))
USING (window_start, window_end, `user`);
