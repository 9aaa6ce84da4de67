import type { Connection } from './connection.js';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import { isMetadataName, quoteName } from './identifiers.js';
import { tokenize, triggerEvent } from './trigger-guard.js';
import { originalTriggers } from './user-triggers.js';

/**
 * What a view or a trigger reads and writes, by the names that objects were created with: also
 * through views, which are listed as well.
 */
export interface Touched {
  readonly reads: ReadonlySet<string>;
  readonly writes: ReadonlySet<string>;
  /** What SQLite says when it cannot be used; the sets may be incomplete then. */
  readonly problem?: string;
}

export interface SchemaObject {
  readonly type: 'table' | 'view' | 'trigger';
  readonly name: string;
  /** Of a trigger: the table or view that it is on. */
  readonly table: string;
  /** As its author wrote it. */
  readonly sql: string;
}

/** https://www.sqlite.org/c3ref/c_alter_table.html */
const ACTION = { DELETE: 9, INSERT: 18, READ: 20, UPDATE: 23 } as const;

/**
 * The schema of a database without its rows, in memory. What a trigger or view touches is what
 * SQLite's authorizer reports while it compiles a statement that uses it, one at a time: no text is
 * read, and nothing happens in the database itself.
 */
export class SchemaCopy {
  readonly objects: readonly SchemaObject[];
  readonly #copy: Database;
  readonly #connection: Connection;
  #reads = new Set<string>();
  #writes = new Set<string>();

  constructor(connection: Connection) {
    this.#connection = connection;
    this.objects = readObjects(connection);
    this.#copy = openDatabase(':memory:');
    this.#copy.exec('PRAGMA foreign_keys = OFF');
    for (const object of this.objects) if (object.type !== 'trigger') this.#create(object);
    for (const sql of readIndexes(connection)) this.#createIndex(sql);
    const views = new Set(this.objects.filter(({ type }) => type === 'view').map(({ name }) => name));
    this.#copy.authorize((action, first, _second, _database, source) => {
      if (source === null || first === null) return true;
      // A view that SQLite takes apart is not read itself, and shows only as the source of what it
      // reads.
      if (views.has(source)) this.#reads.add(source);
      if (action === ACTION.READ) this.#reads.add(first);
      if (action === ACTION.INSERT || action === ACTION.UPDATE || action === ACTION.DELETE)
        this.#writes.add(first);
      return true;
    });
  }

  close(): void {
    this.#copy.close();
  }

  view(name: string): Touched {
    return this.#compile(`SELECT * FROM ${quoteName(name)}`);
  }

  trigger({ name, table, sql }: SchemaObject): Touched {
    try {
      this.#copy.exec(sql);
    } catch (thrown) {
      return { reads: new Set(), writes: new Set(), problem: messageOf(thrown) };
    }
    try {
      return this.#compile(this.#statementFor(table, triggerEvent(sql)));
    } finally {
      this.#copy.exec(`DROP TRIGGER ${quoteName(name)}`);
    }
  }

  #compile(sql: string): Touched {
    this.#reads = new Set();
    this.#writes = new Set();
    const problem = this.#obstacleOf(this.#copy, sql);
    // What the copy could not be given says nothing: the database itself has the last word.
    if (problem !== undefined && this.#obstacleOf(this.#connection.db, sql) === undefined)
      return { reads: this.#reads, writes: this.#writes };
    return { reads: this.#reads, writes: this.#writes, ...(problem === undefined ? {} : { problem }) };
  }

  /** Why SQLite does not compile it; undefined when it does. */
  #obstacleOf(db: Database, sql: string): string | undefined {
    try {
      db.prepare(sql);
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  /** What a trigger says in ON CONFLICT must name a unique key. */
  #createIndex(sql: string): void {
    try {
      this.#copy.exec(sql);
    } catch {
      // On a table that is not here, or with a collation or function that only the users' programs
      // have.
    }
  }

  /** Names every column, since a trigger may be for some of them. */
  #statementFor(table: string, event: 'INSERT' | 'UPDATE' | 'DELETE' | undefined): string {
    if (event === 'DELETE') return `DELETE FROM ${quoteName(table)}`;
    const columns = this.#columns(this.#copy, table);
    if (event === 'UPDATE') {
      const set = columns.map((column) => `${quoteName(column)} = ${quoteName(column)}`);
      return `UPDATE ${quoteName(table)} SET ${set.join(', ')}`;
    }
    return `INSERT INTO ${quoteName(table)} (${columns.map(quoteName).join(', ')}) VALUES (${columns.map(() => 'NULL').join(', ')})`;
  }

  /** Without generated ones. */
  #columns(db: Database, table: string): string[] {
    return db
      .prepare('SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0', 'value')
      .all(table) as string[];
  }

  /**
   * A table that needs what only the users' programs have (functions, modules) is made without it.
   */
  #create({ name, type, sql }: SchemaObject): void {
    try {
      this.#copy.exec(sql);
    } catch {
      if (type !== 'table') return;
      try {
        const columns = this.#columns(this.#connection.db, name).map(quoteName);
        if (columns.length > 0) this.#copy.exec(`CREATE TABLE ${quoteName(name)} (${columns.join(', ')})`);
      } catch {
        // A virtual table whose module is not here, or what one has made already: what uses it will
        // say so.
      }
    }
  }
}

function readObjects(connection: Connection): SchemaObject[] {
  const rows = connection.db
    .prepare(
      `SELECT type, name, tbl_name AS "table", sql FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') AND sql IS NOT NULL ORDER BY rowid`,
    )
    .all() as SchemaObject[];
  const originals = originalTriggers(connection);
  return rows
    .filter(({ name }) => !isMetadataName(name) && !name.toLowerCase().startsWith('sqlite_'))
    .map((row) =>
      row.type === 'trigger' ? { ...row, sql: originals.get(row.name)?.original ?? row.sql } : row,
    );
}

function readIndexes(connection: Connection): string[] {
  return connection.db
    .prepare(
      `SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND name NOT LIKE '\\_antiphon\\_%' ESCAPE '\\'`,
      'value',
    )
    .all() as string[];
}

/** Whether a trigger may refuse or skip a row by itself. */
export function raises(sql: string): boolean {
  const tokens = tokenize(sql);
  return tokens.some(
    ({ text, quoted }, at) => !quoted && text.toUpperCase() === 'RAISE' && tokens[at + 1]?.text === '(',
  );
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
