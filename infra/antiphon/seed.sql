-- The tables of the example cluster. The first replica brings them, and the rows that are in them, to all others.
CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, amount INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, sku TEXT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('A-7', 100);
