-- A small shop, the same on every machine: arithmetic in place of chance, and fixed days.
-- The odd numbers are primes, so that columns do not move in step.
BEGIN;

CREATE TABLE customers (
    id         bigint PRIMARY KEY,
    name       text NOT NULL,
    email      text NOT NULL UNIQUE,
    country    char(2) NOT NULL,
    segment    text NOT NULL CHECK (segment IN ('private', 'business', 'school')),
    newsletter boolean NOT NULL,
    joined_on  date NOT NULL
);

CREATE TABLE products (
    id         integer PRIMARY KEY,
    sku        text NOT NULL UNIQUE,
    name       text NOT NULL,
    category   text NOT NULL,
    price      numeric(10, 2) NOT NULL CHECK (price > 0),
    stock      integer NOT NULL,
    tags       text[] NOT NULL,
    attributes jsonb NOT NULL
);

CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    status      text NOT NULL,
    placed_at   timestamptz NOT NULL,
    shipped_at  timestamptz,
    note        text
);

CREATE TABLE order_items (
    order_id   bigint NOT NULL,
    line       smallint NOT NULL,
    product_id integer NOT NULL,
    quantity   integer NOT NULL,
    unit_price numeric(10, 2) NOT NULL
);

CREATE TABLE page_views (
    id          bigint NOT NULL,
    viewed_at   timestamptz NOT NULL,
    customer_id bigint,
    path        text NOT NULL,
    duration_ms integer NOT NULL,
    client_ip   inet NOT NULL
);

INSERT INTO customers
SELECT n,
       (ARRAY['Ada', 'Björn', 'Chloé', 'Dmitri', 'Elif', 'Farah', 'Goran', 'Hana', 'Iñaki', 'Joana', 'Kofi'])[1 + n % 11]
           || ' ' || (ARRAY['Lind', 'Øster', 'Novák', 'Okafor', 'Pérez', 'Quist', 'Rossi', 'Sato', 'Tóth', 'Ueda', 'Vega', 'Wu', 'Ybarra'])[1 + n % 13],
       'customer' || n || '@shop.example',
       (ARRAY['SE', 'DE', 'FR', 'NL', 'PL', 'US', 'JP'])[1 + (n * 31) % 7],
       (ARRAY['private', 'private', 'private', 'business', 'school'])[1 + (n * 17) % 5],
       n % 3 = 0,
       DATE '2022-01-01' + ((n * 37) % 1000)::integer
FROM generate_series(1, 10000) AS n;

INSERT INTO products
SELECT n,
       'SKU-' || lpad(n::text, 5, '0'),
       (ARRAY['Oak', 'Steel', 'Linen', 'Glass', 'Cork'])[1 + n % 5] || ' '
           || (ARRAY['lamp', 'chair', 'bowl', 'shelf', 'clock', 'mug', 'rug'])[1 + n % 7] || ' ' || n,
       (ARRAY['light', 'furniture', 'kitchen', 'storage', 'decoration', 'kitchen', 'textile'])[1 + n % 7],
       4.90 + (n * 97) % 29500 / 100.0,
       (n * 53) % 400,
       ARRAY['season-' || n % 4, CASE WHEN n % 6 = 0 THEN 'sale' ELSE 'regular' END],
       jsonb_build_object('weight_g', 100 + (n * 71) % 9000, 'colour', (ARRAY['white', 'black', 'green'])[1 + n % 3])
FROM generate_series(1, 500) AS n;

-- Two years of orders, more of them the later it gets, as the square root is steep at its start.
INSERT INTO orders
SELECT n, 1 + (n * 7919) % 10000, status, placed_at,
       CASE WHEN status IN ('shipped', 'returned') THEN placed_at + make_interval(hours => (4 + n * 13 % 90)::integer) END,
       CASE WHEN n % 23 = 0 THEN 'leave at the door' END
FROM (
    SELECT n,
           (ARRAY['shipped', 'shipped', 'shipped', 'shipped', 'paid', 'returned', 'cancelled'])[1 + (n * 61) % 7] AS status,
           TIMESTAMPTZ '2024-01-01 00:00:00+00'
               + make_interval(secs => round(730 * 86400 * sqrt(n / 60000.0))) AS placed_at
    FROM generate_series(1, 60000) AS n
) AS placed;

INSERT INTO order_items
SELECT o.n, line, p.id, 1 + (o.n + line) % 4, p.price
FROM generate_series(1, 60000) AS o (n)
CROSS JOIN LATERAL generate_series(1, 1 + o.n % 4) AS line
JOIN products AS p ON p.id = 1 + (o.n * 131 + line * 89) % 500;

-- The last thirty days of 2025, one view every 13 seconds or so.
INSERT INTO page_views
SELECT n,
       TIMESTAMPTZ '2025-12-02 00:00:00+00' + make_interval(secs => n * 12.96 + n * 29 % 11),
       CASE WHEN n % 4 <> 0 THEN 1 + (n * 6007) % 10000 END,
       (ARRAY['/', '/search', '/cart', '/product/' || 1 + n % 500, '/product/' || 1 + (n * 7) % 500])[1 + (n * 19) % 5],
       20 + (n * 101) % 1700,
       ('10.' || n % 4 || '.' || (n * 3) % 256 || '.' || 1 + (n * 7) % 254)::inet
FROM generate_series(1, 200000) AS n;

-- After the rows, which is faster than keeping them up to date row by row.
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE order_items ADD PRIMARY KEY (order_id, line),
    ADD FOREIGN KEY (order_id) REFERENCES orders,
    ADD FOREIGN KEY (product_id) REFERENCES products;
ALTER TABLE page_views ADD PRIMARY KEY (id);
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (placed_at);
CREATE INDEX ON order_items (product_id);
CREATE INDEX ON page_views (viewed_at);

CREATE VIEW daily_revenue AS
SELECT (o.placed_at AT TIME ZONE 'UTC')::date AS day,
       count(DISTINCT o.id)                   AS orders,
       sum(i.quantity * i.unit_price)         AS revenue
FROM orders AS o
JOIN order_items AS i ON i.order_id = o.id
WHERE o.status <> 'cancelled'
GROUP BY 1;

COMMIT;

-- So that the planner knows the tables from the first question on.
VACUUM ANALYZE;
