CREATE DATABASE sales;
CREATE TABLE sales.t (a INT) WITH ('connector' = 'print');
DROP DATABASE sales;
