import { openDatabase, type Database } from '@antiphon/sqlite';
import { attempting } from './random-tables.js';
import { quote } from './schema/index.js';
import { SYNC_TABLES } from './sync-tables.js';

/** Reads a column `text`. */
export type Texts = (sql: string) => readonly string[];

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** Those that grow, and that no foreign key and no trigger of the others is about. */
const FIXED = SYNC_TABLES.map(({ name }) => text(name)).join(', ');
const DRAWN = `tbl_name NOT IN (${FIXED}) AND tbl_name NOT GLOB '_antiphon_*' AND tbl_name NOT GLOB 'sqlite_*'`;
const OURS = `type = 'trigger' AND name GLOB '_antiphon_*'`;
const ROWID_NAMES = ['rowid', '_rowid_', 'oid'];

/** Children without a parent, without the numbers of their rows, which replicas do not share. */
export function orphansIn(texts: Texts): readonly string[] {
  try {
    const orphans = `SELECT "table" || ' without its ' || parent AS text FROM pragma_foreign_key_check`;
    return [...texts(orphans)].sort();
  } catch {
    // A foreign key names what is no key of its parent: SQLite checks nothing then.
    return [];
  }
}

/**
 * The drawn tables of a database, for SQLite alone. In the place of the triggers of replication it
 * has triggers that do nothing: SQLite compiles statements differently where there are triggers.
 */
export class SqliteCopy {
  readonly #definitions: readonly string[];
  readonly #rows: readonly string[];
  readonly #later: readonly string[];

  constructor(private readonly texts: Texts) {
    const sqlOf = (what: string): readonly string[] =>
      texts(
        `SELECT sql AS text FROM sqlite_schema WHERE sql IS NOT NULL AND ${DRAWN} AND ${what} ORDER BY rowid`,
      );
    // The triggers of users ask this one whether they may fire.
    this.#definitions = ['CREATE TABLE _antiphon_guard (x)', ...sqlOf(`type = 'table'`)];
    const names = texts(`SELECT name AS text FROM sqlite_schema WHERE type = 'table' AND ${DRAWN}`);
    this.#rows = names.flatMap((name) => this.#insertions(name));
    this.#later = [
      ...sqlOf(`type = 'index'`),
      ...sqlOf(`type = 'trigger' AND NOT (${OURS})`),
      ...this.#idleTriggers(),
    ];
  }

  /** When SQLite alone has run these in one transaction; none when it does not commit it. */
  orphansAfter(statements: readonly string[]): readonly string[] {
    const database = openDatabase(':memory:');
    try {
      database.exec('PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON');
      for (const sql of [...this.#definitions, ...this.#rows, ...this.#later]) database.exec(sql);
      database.exec('PRAGMA foreign_keys = ON; PRAGMA ignore_check_constraints = OFF; BEGIN');
      attempting((sql) => runOpen(database, sql), [...statements, 'COMMIT']);
      if (database.inTransaction) return [];
      return orphansIn((sql) => database.prepare(sql, 'value').all() as string[]);
    } finally {
      database.close();
    }
  }

  /** Exact to the type and byte. */
  #insertions(table: string): readonly string[] {
    const names = this.texts(`SELECT name AS text FROM pragma_table_xinfo(${text(table)}) WHERE hidden = 0`);
    const columns = [...this.#rowid(table), ...names.map(quote)];
    const values = columns.map(
      (name) =>
        `CASE typeof(${name}) WHEN 'text' THEN 'CAST(x''' || hex(${name}) || ''' AS TEXT)' ELSE quote(${name}) END`,
    );
    const rows = this.texts(`SELECT ${values.join(` || ', ' || `)} AS text FROM ${quote(table)}`);
    return rows.map((row) => `INSERT INTO ${quote(table)} (${columns.join(', ')}) VALUES (${row})`);
  }

  /** A name for the number of a row that is no column. */
  #rowid(table: string): readonly string[] {
    const all = this.texts(`SELECT lower(name) AS text FROM pragma_table_xinfo(${text(table)})`);
    const [without] = this.texts(
      `SELECT wr AS text FROM pragma_table_list WHERE schema = 'main' AND name = ${text(table)}`,
    );
    return Number(without) === 1 ? [] : ROWID_NAMES.filter((name) => !all.includes(name)).slice(0, 1);
  }

  #idleTriggers(): readonly string[] {
    const ours = this.texts(
      `SELECT tbl_name || char(10) || sql AS text FROM sqlite_schema WHERE ${OURS} AND ${DRAWN}`,
    );
    return ours.map((trigger, index) => {
      const event = / (BEFORE|AFTER) (INSERT|UPDATE|DELETE) /.exec(trigger)?.[0] ?? '';
      const [table = ''] = trigger.split('\n');
      const head = `CREATE TRIGGER ${quote(`idle ${index}`)}${event}ON ${quote(table)}`;
      return `${head} BEGIN SELECT RAISE(ABORT, 'never') WHERE 0; END`;
    });
  }
}

/** OR ROLLBACK ends a transaction; what comes after it would commit by itself. */
function runOpen(database: Database, sql: string): void {
  if (database.inTransaction) database.exec(sql);
}
