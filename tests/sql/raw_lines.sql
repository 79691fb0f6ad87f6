-- The raw format: lines as texts in two charsets, as bytes and as numbers of either endianness; written again.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE texts (v STRING) WITH ('connector' = 'filesystem', 'path' = '${data}/words.txt', 'format' = 'raw');
CREATE TABLE latin (v STRING) WITH ('connector' = 'filesystem', 'path' = '${data}/words.txt', 'format' = 'raw', 'raw.charset' = 'ISO-8859-1');
CREATE TABLE bits (v BYTES) WITH ('connector' = 'filesystem', 'path' = '${data}/words.txt', 'format' = 'raw');
CREATE TABLE big (v INT) WITH ('connector' = 'filesystem', 'path' = '${data}/words4.txt', 'format' = 'raw');
CREATE TABLE little (v INT) WITH ('connector' = 'filesystem', 'path' = '${data}/words4.txt', 'format' = 'raw', 'raw.endianness' = 'little-endian');

CREATE TABLE texts_seen (v STRING) WITH ('connector' = 'filesystem', 'path' = '${out}/texts_seen', 'format' = 'json');
CREATE TABLE latin_seen (v STRING) WITH ('connector' = 'filesystem', 'path' = '${out}/latin_seen', 'format' = 'json');
CREATE TABLE bits_seen (v BYTES) WITH ('connector' = 'filesystem', 'path' = '${out}/bits_seen', 'format' = 'json');
CREATE TABLE big_seen (v INT) WITH ('connector' = 'filesystem', 'path' = '${out}/big_seen', 'format' = 'json');
CREATE TABLE little_seen (v INT) WITH ('connector' = 'filesystem', 'path' = '${out}/little_seen', 'format' = 'json');
CREATE TABLE swapped (v INT) WITH ('connector' = 'filesystem', 'path' = '${out}/swapped', 'format' = 'raw', 'raw.endianness' = 'little-endian');
CREATE TABLE shouted (v STRING) WITH ('connector' = 'filesystem', 'path' = '${out}/shouted', 'format' = 'raw', 'raw.charset' = 'US-ASCII');

INSERT INTO texts_seen SELECT v FROM texts;
INSERT INTO latin_seen SELECT v FROM latin;
INSERT INTO bits_seen SELECT v FROM bits;
INSERT INTO big_seen SELECT v FROM big;
INSERT INTO little_seen SELECT v FROM little;
INSERT INTO swapped SELECT v FROM big;
-- The recording of lines drops empty ones.
INSERT INTO shouted SELECT UPPER(v) FROM texts WHERE v <> '';
