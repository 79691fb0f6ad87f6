-- The tables that kafka.sql writes to.
CREATE TABLE IF NOT EXISTS kpi_by_section (
    minute_start timestamp(3),
    section text,
    page_views bigint NOT NULL,
    unique_users bigint NOT NULL,
    mean_ms double precision,
    p95_ms double precision,
    error_rate double precision,
    revenue numeric(38, 2),
    PRIMARY KEY (minute_start, section)
);

CREATE TABLE IF NOT EXISTS kpi_by_region (
    minute_start timestamp(3),
    region text,
    page_views bigint NOT NULL,
    unique_users bigint NOT NULL,
    mean_ms double precision,
    p95_ms double precision,
    error_rate double precision,
    revenue numeric(38, 2),
    PRIMARY KEY (minute_start, region)
);
