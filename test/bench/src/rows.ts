/** The rows that every bench writes: 8 columns, about 200 bytes. */
export const COLUMNS = [
  'id',
  'customer',
  'name',
  'email',
  'amount',
  'quantity',
  'note',
  'reference',
] as const;

export const SQLITE_TABLE = `CREATE TABLE orders (
  id        INTEGER PRIMARY KEY,
  customer  INTEGER NOT NULL,
  name      TEXT NOT NULL,
  email     TEXT NOT NULL,
  amount    REAL NOT NULL,
  quantity  INTEGER NOT NULL,
  note      TEXT NOT NULL,
  reference TEXT NOT NULL
)`;

export const POSTGRES_TABLE = `CREATE TABLE orders (
  id        bigint PRIMARY KEY,
  customer  bigint NOT NULL,
  name      text NOT NULL,
  email     text NOT NULL,
  amount    double precision NOT NULL,
  quantity  bigint NOT NULL,
  note      text NOT NULL,
  reference text NOT NULL
)`;

export const MARIADB_TABLE = `CREATE TABLE orders (
  id        bigint PRIMARY KEY,
  customer  bigint NOT NULL,
  name      varchar(200) NOT NULL,
  email     varchar(200) NOT NULL,
  amount    double NOT NULL,
  quantity  bigint NOT NULL,
  note      text NOT NULL,
  reference varchar(200) NOT NULL
) CHARACTER SET utf8mb4`;

export const POSTGRES_TYPES = [
  'bigint',
  'bigint',
  'text',
  'text',
  'float8',
  'bigint',
  'text',
  'text',
] as const;

export type BenchRow = readonly [number, number, string, string, number, number, string, string];

const WORDS = [
  'amber',
  'birch',
  'cedar',
  'delta',
  'ember',
  'fjord',
  'grove',
  'heath',
  'islet',
  'jetty',
  'knoll',
  'ledge',
];
const NOTE_WORDS = 19;

const TEMPLATES = Array.from({ length: 1000 }, (_, index) => makeRow(index + 1));

/**
 * The same row for the same id on every run. All but the id comes from a thousand templates, so
 * that making rows costs next to nothing and holds no memory while something is measured.
 */
export function benchRow(id: number): BenchRow {
  const [, customer, name, email, amount, quantity, note, reference] =
    TEMPLATES[id % TEMPLATES.length] ?? makeRow(id);
  return [id, customer, name, email, amount, quantity, note, reference];
}

export function benchRows(firstId: number, count: number): BenchRow[] {
  return Array.from({ length: count }, (_, index) => benchRow(firstId + index));
}

function makeRow(id: number): BenchRow {
  const word = (offset: number): string =>
    WORDS[(id * 7 + offset * 13 + Math.floor(id / 12)) % WORDS.length] ?? '';
  const customer = (id * 48_271) % 100_003;
  const note = Array.from({ length: NOTE_WORDS }, (_, index) => word(index)).join(' ');
  const name = `${word(1)} ${word(5)} ${customer}`;
  const reference = `${word(2)}-${id.toString(16).padStart(10, '0')}`;
  return [
    id,
    customer,
    name,
    `${word(3)}.${customer}@example.org`,
    (customer % 9973) / 8,
    id % 17,
    note,
    reference,
  ];
}
