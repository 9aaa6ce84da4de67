import type { Connection } from './connection.js';
import { openDatabase } from './driver/find-driver.js';
import { quoteName } from './identifiers.js';

interface Made {
  readonly type: 'table' | 'index';
  readonly name: string;
  readonly sql: string;
}

const ADVICE =
  'what its columns, constraints and indexes use must be built into SQLite, since other replicas do not have the functions and collations of a program';

/** More than a database has tables. */
const MOST_KNOWN = 1000;

/** Of this process's SQLite, by what was made. To make it takes an empty database each time. */
const known = new Map<string, string | undefined>();

/**
 * What keeps other replicas from making this table or from writing rows to it; undefined when
 * nothing does. A schema may use functions and collations that only the program which made it
 * defines, and SQLite reads such a schema all the same: only an empty database tells.
 */
export function makingObstacle(connection: Connection, table: string): string | undefined {
  const made = connection
    .statement(
      `SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'index') AND tbl_name = ? AND sql IS NOT NULL ORDER BY type = 'index', rowid`,
    )
    .all(table) as Made[];
  const replace = replaceSql(connection, table);
  const id = JSON.stringify([made, replace]);
  if (!known.has(id)) {
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(id, tryToMake(made, replace));
  }
  return known.get(id);
}

function tryToMake(made: readonly Made[], replace: string): string | undefined {
  const scratch = openDatabase(':memory:');
  const problemOf = (attempt: () => unknown): string | undefined => {
    try {
      attempt();
      return undefined;
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : String(thrown);
    }
  };
  try {
    // Parents are other tables' business.
    scratch.exec('PRAGMA foreign_keys = OFF');
    for (const { type, name, sql } of made) {
      const problem = problemOf(() => scratch.exec(sql));
      if (problem === undefined) continue;
      const what = type === 'table' ? 'it' : `its index ${name}`;
      return `${what} cannot be made in another database (${problem}): ${ADVICE}`;
    }
    // A default is looked at when REPLACE may put it where a value must be.
    const problem = problemOf(() => scratch.prepare(replace));
    return problem === undefined
      ? undefined
      : `other databases cannot write rows to it (${problem}): ${ADVICE}`;
  } finally {
    scratch.close();
  }
}

function replaceSql(connection: Connection, table: string): string {
  const columns = connection
    .statement('SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0', 'value')
    .all(table) as string[];
  const nulls = columns.map(() => 'NULL').join(', ');
  return `INSERT OR REPLACE INTO ${quoteName(table)} (${columns.map(quoteName).join(', ')}) VALUES (${nulls})`;
}
