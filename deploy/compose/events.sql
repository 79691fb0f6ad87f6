-- Makes up the events that examples/web_analytics/kafka.sql reads: visits of a web shop, some fifty a second.
CREATE TABLE visits (
    ts TIMESTAMP(3),
    visitor INT,
    place INT,
    page INT,
    luck INT,
    ms INT,
    cents INT
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '50',
    'fields.ts.max-past' = '2 s',
    'fields.visitor.min' = '1', 'fields.visitor.max' = '400',
    'fields.place.min' = '1', 'fields.place.max' = '10',
    'fields.page.min' = '1', 'fields.page.max' = '10',
    'fields.luck.min' = '1', 'fields.luck.max' = '100',
    'fields.ms.min' = '5', 'fields.ms.max' = '250',
    'fields.cents.min' = '500', 'fields.cents.max' = '12000'
);

CREATE TABLE access_events (
    ts TIMESTAMP(3),
    user_id STRING,
    region STRING,
    section STRING,
    status INT,
    ms INT,
    revenue DECIMAL(10, 2)
) WITH (
    'connector' = 'kafka',
    'topic' = 'access-events',
    'properties.bootstrap.servers' = '${env:KAFKA_SERVERS}',
    'format' = 'json'
);

INSERT INTO access_events
SELECT
    ts,
    CONCAT('u', CAST(visitor AS STRING)),
    CASE WHEN place <= 5 THEN 'eu-west' WHEN place <= 8 THEN 'us-east' ELSE 'ap-south' END,
    CASE WHEN page <= 4 THEN 'home' WHEN page <= 7 THEN 'products' WHEN page <= 9 THEN 'cart' ELSE 'checkout' END,
    CASE WHEN luck <= 2 THEN 503 ELSE 200 END,
    CASE WHEN luck > 95 THEN ms * 6 ELSE ms END,
    CASE WHEN page = 10 AND luck > 2 THEN CAST(cents AS DECIMAL(10, 2)) / 100 END
FROM visits;
