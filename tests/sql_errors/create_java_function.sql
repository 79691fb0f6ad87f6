CREATE TEMPORARY FUNCTION parse_agent AS 'com.example.ParseAgent' LANGUAGE JAVA;
