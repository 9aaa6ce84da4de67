import { AntiphonError, type ClusterSchema, withoutStop } from '@antiphon/core';
import type { Connection } from './connection.js';
import { openDatabase } from './driver/find-driver.js';
import { inspectTables } from './inspection.js';
import { tokenize } from './trigger-guard.js';

interface Created {
  readonly type: string;
  readonly name: string;
  readonly table: string;
  readonly sql: string;
}

/**
 * Makes of what the cluster has what is not here: tables with their indexes, views, and triggers on
 * them.
 */
export function createMissing(connection: Connection, schema: ClusterSchema): void {
  const present = new Set(inspectTables(connection).map(({ table }) => table.name));
  const missing = schema.tables.map(({ name }) => name).filter((name) => !present.has(name));
  if (schema.ddl.engine !== 'sqlite') {
    if (missing.length === 0) return;
    throw content(
      `This database lacks the tables ${missing.join(', ')}, and the cluster's statements for them are for ${schema.ddl.engine}. Create them first.`,
    );
  }
  const find = connection.db.prepare('SELECT sql FROM sqlite_schema WHERE type = ? AND name = ?', 'value');
  for (const { type, name, table, sql } of createdBy(schema)) {
    const isPart = type === 'table' || type === 'index';
    if (isPart && !missing.includes(table)) continue;
    const here = isPart ? undefined : (find.get(type, name) as string | undefined);
    if (here === undefined) create(connection, type, name, sql);
    else if (!isAlike(here, sql))
      throw content(
        `This database already has another ${type} ${name} than the cluster. Drop it: the replica creates the cluster's.`,
      );
  }
}

function create(connection: Connection, type: string, name: string, sql: string): void {
  try {
    connection.db.exec(sql);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw content(
      `The ${type} ${name} of the cluster cannot be created here: ${withoutStop(message)}. Start with an empty file. ` +
        'If that is refused as well, this SQLite lacks what the others have. Use the same version.',
    );
  }
}

/** An empty database tells which statement makes what, however it is written. */
function createdBy(schema: ClusterSchema): Created[] {
  const scratch = openDatabase(':memory:');
  try {
    for (const statement of schema.ddl.statements) scratch.exec(statement);
    return scratch
      .prepare(
        `SELECT type, name, tbl_name AS "table", sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END, rowid`,
      )
      .all() as Created[];
  } catch (thrown) {
    throw new AntiphonError(
      'STORE_CONTENT',
      `The cluster's statements for its tables do not run here, not even in an empty file: ${withoutStop(String(thrown))}. ` +
        'This SQLite lacks what the replica that created the cluster has. Use the same version.',
      { cause: thrown },
    );
  } finally {
    scratch.close();
  }
}

/** Spaces and comments do not count. */
function isAlike(one: string, other: string): boolean {
  const normal = (sql: string): string =>
    tokenize(sql)
      .map(({ text }) => text)
      .join(' ');
  return normal(one) === normal(other);
}

function content(message: string): AntiphonError {
  return new AntiphonError('STORE_CONTENT', message);
}
