CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR tz AS tz) WITH ('connector' = 'datagen');
