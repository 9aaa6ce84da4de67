import { AntiphonError } from '@antiphon/core';
import type { Connection } from './connection.js';
import { isMetadataName } from './identifiers.js';
import { dropTrigger, guardTrigger, isGuarded } from './trigger-guard.js';

export interface UserTrigger {
  readonly name: string;
  readonly table: string;
  /** As its author wrote it. */
  readonly original: string;
  readonly guarded: string;
}

export function hasTriggerMetadata(connection: Connection): boolean {
  return (
    connection.statement(`SELECT 1 FROM sqlite_schema WHERE name = '_antiphon_triggers'`).get() !== undefined
  );
}

/** Triggers that were rewritten, by name. */
export function originalTriggers(connection: Connection): Map<string, UserTrigger> {
  if (!hasTriggerMetadata(connection)) return new Map();
  const rows = connection
    .statement('SELECT name, tbl AS "table", original, guarded FROM _antiphon_triggers')
    .all() as UserTrigger[];
  return new Map(rows.map((row) => [row.name, row]));
}

interface SchemaTrigger {
  readonly name: string;
  readonly table: string;
  readonly sql: string;
}

export function readTriggers(connection: Connection, tables: readonly string[]): SchemaTrigger[] {
  if (tables.length === 0) return [];
  const rows = connection
    .statement(
      `SELECT name, tbl_name AS "table", sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN (SELECT value FROM json_each(?)) ORDER BY rowid`,
    )
    .all(JSON.stringify(tables)) as SchemaTrigger[];
  return rows.filter(({ name }) => !isMetadataName(name));
}

/**
 * Rewrites the users' triggers on these tables so that they rest during apply, except those of
 * `repeated`, which are as their authors wrote them. Returns whether anything changed. All of them
 * are created anew in their old order, since SQLite fires triggers of one event by creation.
 */
export function guardUserTriggers(
  connection: Connection,
  tables: readonly string[],
  repeated: ReadonlySet<string>,
): boolean {
  const known = originalTriggers(connection);
  const present = readTriggers(connection, tables);
  const names = new Set(present.map(({ name }) => name));
  const forget = connection.statement('DELETE FROM _antiphon_triggers WHERE name = ?');
  for (const { name } of known.values()) if (!names.has(name)) forget.run(name);
  if (present.every(({ name, sql }) => isGuarded(sql) !== repeated.has(name))) return false;

  const remember = connection.statement(
    'INSERT OR REPLACE INTO _antiphon_triggers (name, tbl, original, guarded) VALUES (?, ?, ?, ?)',
  );
  const rewritten = present.map((trigger) => {
    if (repeated.has(trigger.name)) {
      forget.run(trigger.name);
      return { ...trigger, guarded: known.get(trigger.name)?.original ?? trigger.sql };
    }
    if (isGuarded(trigger.sql)) return { ...trigger, guarded: trigger.sql };
    const guarded = guardTrigger(trigger.sql);
    if (guarded === undefined) throw unguardable(trigger, 'its text is not understood');
    remember.run(trigger.name, trigger.table, trigger.sql, guarded);
    return { ...trigger, guarded };
  });
  for (const { name } of rewritten) connection.db.exec(dropTrigger(name));
  for (const trigger of rewritten) {
    try {
      connection.db.exec(trigger.guarded);
    } catch (thrown) {
      throw unguardable(trigger, thrown instanceof Error ? thrown.message : String(thrown));
    }
  }
  return true;
}

function unguardable(trigger: SchemaTrigger, why: string): AntiphonError {
  return new AntiphonError(
    'UNSUPPORTED_TABLE',
    `Trigger ${trigger.name} of table ${trigger.table} cannot be kept from firing again when changes of other replicas are applied (${why}). ` +
      'Simplify or drop the trigger, or leave the table out.',
    { context: { table: trigger.table, trigger: trigger.name } },
  );
}
