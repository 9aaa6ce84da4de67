import { DatabaseSync } from 'node:sqlite';
import { quote } from '@antiphon/simulator/schema';

/** A connection as other programs have it, and a look at what is in a database. */
export class ForeignDatabase {
  readonly db: DatabaseSync;

  constructor(file: string) {
    this.db = new DatabaseSync(file, { timeout: 0 });
  }

  set(foreignKeys: boolean, recursiveTriggers: boolean): void {
    this.db.exec(
      `PRAGMA foreign_keys = ${foreignKeys ? 'ON' : 'OFF'}; PRAGMA recursive_triggers = ${recursiveTriggers ? 'ON' : 'OFF'}`,
    );
  }

  /** The message of the error that a statement ends with; undefined when it went well. */
  attempt(sql: string): string | undefined {
    try {
      this.db.exec(sql);
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  /** Rows as text that is exact to the type and byte, in one order everywhere. */
  rows(table: string): string[] {
    const columns = this.#values(
      `SELECT name FROM pragma_table_xinfo(${text(table)}) WHERE hidden <> 1 ORDER BY cid`,
    ).map(quote);
    const shown = columns.map(
      (column) => `typeof(${column}) || ':' || quote(${column}) || ':' || hex(CAST(${column} AS BLOB))`,
    );
    return this.#values(`SELECT ${shown.join(` || ', ' || `)} FROM ${quote(table)}`).sort();
  }

  tables(pattern: string): string[] {
    return this.#values(
      `SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ${text(pattern)} ORDER BY name`,
    );
  }

  count(table: string): number {
    return Number(this.#values(`SELECT count(*) || '' FROM ${quote(table)}`)[0]);
  }

  /** Problems that SQLite itself finds. */
  integrity(): string {
    return this.#values('SELECT integrity_check FROM pragma_integrity_check').join('\n');
  }

  /** Without numbers of rows, which replicas do not share. */
  orphans(): string {
    try {
      return this.#values(`SELECT "table" || ' ' || parent || ' ' || fkid FROM pragma_foreign_key_check`)
        .sort()
        .join('\n');
    } catch {
      return 'a foreign key names what is no key of its parent';
    }
  }

  /**
   * The events of the triggers of a database with Antiphon, with triggers that do nothing. SQLite
   * goes about a statement in another way where there are triggers: it visits rows in another
   * order, counts violations of foreign keys that it would refuse at once, and keeps what it needs
   * to take a statement back that fails halfway.
   */
  addIdleTriggers(captured: ForeignDatabase): void {
    const triggers = captured.#values(
      `SELECT name || char(10) || tbl_name || char(10) || sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_antiphon_*'`,
    );
    for (const trigger of triggers) {
      const [name = '', table = ''] = trigger.split('\n');
      const event = / (BEFORE|AFTER) (INSERT|UPDATE|DELETE) /.exec(trigger)?.[0] ?? '';
      this.db.exec(
        `CREATE TRIGGER ${quote(`idle ${name}`)}${event}ON ${quote(table)} BEGIN SELECT RAISE(ABORT, 'never') WHERE 0; END`,
      );
    }
  }

  #values(sql: string): string[] {
    const statement = this.db.prepare(sql);
    statement.setReturnArrays(true);
    return (statement.all() as unknown as string[][]).map(([value]) => value ?? '');
  }

  close(): void {
    if (this.db.isOpen) this.db.close();
  }
}

/** The database's own words, beneath whatever was wrapped around them. */
export function messageOf(thrown: unknown): string {
  let error = thrown;
  while (error instanceof Error && error.cause instanceof Error) error = error.cause;
  return error instanceof Error ? error.message : String(error);
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
