-- Keys of any script, letters that change their length in upper case, signs beyond 16 bits.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE strings (
    id INT,
    s STRING,
    n INT,
    p STRING,
    ts AS TO_TIMESTAMP_LTZ(id * 1000, 3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/strings.json',
    'format' = 'json'
);

SELECT window_start, LOWER(s), COUNT(*), MAX(CHAR_LENGTH(s)), MIN(REVERSE(s))
FROM TABLE(TUMBLE(TABLE strings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, LOWER(s);

SELECT window_start, LEFT(s, 1), COUNT(*), COUNT(DISTINCT s), MIN(s), MAX(s)
FROM TABLE(TUMBLE(TABLE strings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, LEFT(s, 1);
