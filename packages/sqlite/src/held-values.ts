import type { Database, SqliteValue, Statement } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import type { Affinity } from './local-table.js';

const TYPES: Readonly<Record<Exclude<Affinity, 'none'>, string>> = {
  integer: 'INTEGER',
  real: 'REAL',
  numeric: 'NUMERIC',
  text: 'TEXT',
};

/**
 * What columns make of values that they are given. SQLite itself says it, in a table for nothing
 * else: how it writes a float as text, and reads a long text as a float, depends on its version,
 * and is neither what JavaScript does nor what CAST does.
 */
export class HeldValues {
  readonly #puts = new Map<Affinity, Statement>();
  /** In memory; goes with this object. */
  #scratch: Database | undefined;

  of(value: SqliteValue, affinity: Affinity): SqliteValue {
    if (affinity === 'none' || !isChangedBy(affinity, value)) return value;
    this.#scratch ??= scratch();
    const sql = `UPDATE held SET ${affinity} = ? RETURNING ${affinity}`;
    const put = this.#puts.get(affinity) ?? this.#scratch.prepare(sql, 'exact value');
    this.#puts.set(affinity, put);
    return put.get(value) as SqliteValue;
  }
}

/** At most; most keys are of their column's type, and need not be asked about. */
function isChangedBy(affinity: Affinity, value: SqliteValue): boolean {
  if (typeof value === 'string') return affinity !== 'text';
  if (typeof value === 'bigint') return affinity === 'text' || affinity === 'real';
  return typeof value === 'number' && affinity !== 'real';
}

function scratch(): Database {
  const database = openDatabase(':memory:');
  const columns = Object.entries(TYPES).map(([affinity, type]) => `${affinity} ${type}`);
  database.exec(`CREATE TABLE held (${columns.join(', ')}); INSERT INTO held DEFAULT VALUES`);
  return database;
}
