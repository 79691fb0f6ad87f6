CREATE TABLE t (user_id INT, PRIMARY KEY (userid) NOT ENFORCED) WITH ('connector' = 'print');
