SET 'table.exec.sort.default-limit' = '10';
