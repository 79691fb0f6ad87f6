CREATE CATALOG hive WITH ('type' = 'hive');
