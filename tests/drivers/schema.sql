-- What the drivers read: a small library, one column of each kind of type, and rows to fetch.
CREATE SCHEMA library;
CREATE TYPE library.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE library.point3 AS (x integer, y integer, label text);
CREATE DOMAIN library.isbn AS text CHECK (VALUE ~ '^[0-9-]+$');

CREATE TABLE library.authors (
    id      serial PRIMARY KEY,
    name    text NOT NULL UNIQUE,
    born    date,
    country char(2) DEFAULT 'SE'
);
CREATE TABLE library.books (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id integer NOT NULL REFERENCES library.authors ON DELETE CASCADE,
    title     varchar(80) NOT NULL,
    isbn      library.isbn,
    price     numeric(8, 2) CHECK (price >= 0),
    tags      text[] NOT NULL DEFAULT '{}',
    details   jsonb,
    mood      library.mood,
    UNIQUE (author_id, title)
);
CREATE INDEX books_by_tag ON library.books USING gin (tags);
CREATE INDEX books_by_lower_title ON library.books (lower(title)) WHERE price > 0;
COMMENT ON TABLE library.books IS 'What is on the shelves; "quoted", ''too''';
COMMENT ON COLUMN library.books.price IS 'In euros, Åland too: €';

CREATE TABLE library.loans (book_id bigint, day date, reader text)
    PARTITION BY RANGE (day);
CREATE TABLE library.loans_2024 PARTITION OF library.loans
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE library.loans_later PARTITION OF library.loans DEFAULT;

CREATE TABLE library.kinds (
    id          integer PRIMARY KEY,
    a_bool      boolean,
    a_small     smallint,
    a_big       bigint,
    a_real      real,
    a_double    double precision,
    a_numeric   numeric,
    a_text      text,
    a_char      char(5),
    a_bytea     bytea,
    a_date      date,
    a_time      time,
    a_stamp     timestamp,
    a_stamptz   timestamptz,
    an_interval interval,
    a_uuid      uuid,
    an_inet     inet,
    a_json      json,
    a_jsonb     jsonb,
    ints        integer[],
    texts       text[],
    a_range     int4range,
    a_point     point,
    a_mood      library.mood,
    a_composite library.point3,
    an_isbn     library.isbn
);

INSERT INTO library.authors (name, born, country) VALUES
    ('Selma Lagerlöf', '1858-11-20', 'SE'), ('Tove Jansson', '1914-08-09', 'FI'),
    ('Karin Boye', NULL, NULL);
INSERT INTO library.books (author_id, title, isbn, price, tags, details, mood)
SELECT 1 + n % 3, 'Title ' || n, '978-' || n, n * 1.25, ARRAY['t' || n % 5, 'it''s "one"'],
       jsonb_build_object('pages', n * 7, 'names', jsonb_build_array('a', NULL, 'å')),
       (ARRAY['sad', 'ok', 'happy', NULL]::library.mood[])[1 + n % 4]
FROM generate_series(1, 40) AS n;
INSERT INTO library.loans
SELECT 1 + n % 40, DATE '2024-12-01' + n, 'reader ' || n FROM generate_series(1, 60) AS n;
INSERT INTO library.kinds VALUES
    (1, true, -32768, 9223372036854775807, 1.5, 0.1, 123456789012345678901234567890.0123456789,
     E'tab\t, line\nend, \\, €, 🐘', 'ab', '\x00ff10', '2024-02-29', '23:59:59.999999',
     '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+02', '1 year 2 mons 3 days 04:05:06.7',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/8', '{"a": [1, null]}', '{"b": "\u00e5"}',
     '{1,NULL,3}', '{"a,b","c\"d",NULL}', '[1,10)', '(1.5,-2)', 'happy', '(1,2,"a b")', '978-1'),
    (2, false, 32767, -9223372036854775808, 'NaN', '-Infinity', 'NaN', '', '', '', '0001-01-01 BC',
     '00:00', '-infinity', 'infinity', '-1 day', '00000000-0000-0000-0000-000000000000', '::1',
     'null', '[]', '{}', '{}', 'empty', '(0,0)', 'sad', '(,,)', NULL);
INSERT INTO library.kinds (id) VALUES (3);

CREATE VIEW library.shelf AS
    SELECT a.name, count(*) AS books, sum(b.price) AS worth
    FROM library.books AS b JOIN library.authors AS a ON a.id = b.author_id GROUP BY a.name;
CREATE MATERIALIZED VIEW library.snapshot AS SELECT id, title FROM library.books;
CREATE SEQUENCE library.tickets;
CREATE FUNCTION library.twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN $1 * 2;
CREATE FUNCTION library.cheap(up_to numeric) RETURNS SETOF library.books LANGUAGE sql STABLE
    AS 'SELECT * FROM library.books WHERE price <= up_to';
CREATE FUNCTION library.add_author(text) RETURNS integer LANGUAGE sql
    AS 'INSERT INTO library.authors (name) VALUES ($1) RETURNING id';
CREATE ROLE library_reader;
GRANT USAGE ON SCHEMA library TO library_reader;
GRANT SELECT ON library.books TO library_reader;

-- Read through the gateway with and without the schema's name.
ALTER DATABASE postgres SET search_path = library, public;
ANALYZE;
