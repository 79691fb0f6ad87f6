CREATE TABLE t (a VARCHR(10)) WITH ('connector' = 'print');
