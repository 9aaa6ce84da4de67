import { AntiphonError, shellWord, type UncapturedTable } from '@antiphon/core';
import type { Connection } from './connection.js';
import { quoteText } from './identifiers.js';
import type { LocalTable, TrackedTable } from './local-table.js';
import type { TriggerDefinition } from './capture-triggers.js';

/** The metadata table that is created after the replicated tables, and is never created again. */
const CREATED_AFTER_TABLES = '_antiphon_outbox';

/**
 * With the number of a table that was recaptured: created after it, like the outbox after the
 * others.
 */
const RECAPTURED = '_antiphon_recaptured';

/**
 * A view that is created after our triggers: one that is younger was dropped and put back. Views
 * and triggers keep their order over VACUUM, which moves both behind all tables.
 */
const CREATED_AFTER_TRIGGERS = '_antiphon_capturing';

/**
 * A table that is created after our triggers as well, and says which place in the schema it got. As
 * long as it has that place, a trigger behind it was dropped and put back, also by a program that
 * puts views back with the triggers. VACUUM moves it in front of all triggers. Then the view tells,
 * and how often the schema was changed since somebody looked: too seldom for all triggers to have
 * been dropped and put back.
 */
const MARK = '_antiphon_mark';

interface Mark {
  readonly isMoved: boolean;
  readonly place: number;
  /** How often the schema was changed since the last look. */
  readonly changes: number;
}

function markTriggers({ db }: Connection): void {
  db.exec(`DROP VIEW IF EXISTS ${CREATED_AFTER_TRIGGERS}; DROP TABLE IF EXISTS ${MARK}`);
  db.exec(`CREATE VIEW ${CREATED_AFTER_TRIGGERS} AS SELECT name, tbl FROM _antiphon_capture`);
  db.exec(`CREATE TABLE ${MARK} (place INTEGER, schema_version INTEGER)`);
  db.exec(
    `INSERT INTO ${MARK} SELECT s.rowid, v.schema_version
     FROM sqlite_schema AS s, pragma_schema_version AS v WHERE s.name = '${MARK}'`,
  );
}

/** undefined in the file of a build that made no mark. */
function readMark({ db }: Connection): Mark | undefined {
  const place = db
    .prepare(`SELECT rowid FROM sqlite_schema WHERE type = 'table' AND name = '${MARK}'`, 'value')
    .get() as number | undefined;
  if (place === undefined) return undefined;
  const noted = db
    .prepare(
      `SELECT m.place AS place, v.schema_version - m.schema_version AS changes
       FROM ${MARK} AS m, pragma_schema_version AS v`,
    )
    .get() as { place: number; changes: number } | undefined;
  return { isMoved: noted?.place !== place, place, changes: noted?.changes ?? 0 };
}

/** What `work` changes in the schema says nothing of others: how often they changed it stays so. */
export function uncounted(connection: Connection, work: () => void): void {
  const version = (): number => connection.db.prepare('PRAGMA schema_version', 'value').get() as number;
  const before = version();
  work();
  const changes = version() - before;
  if (changes !== 0 && readMark(connection) !== undefined)
    connection.db.exec(`UPDATE ${MARK} SET schema_version = schema_version + ${changes}`);
}

/** Of triggers that are in place, with nothing against them. */
export function keepMarked(connection: Connection): void {
  const mark = readMark(connection);
  if (mark === undefined || mark.isMoved) markTriggers(connection);
  else if (mark.changes !== 0)
    connection.db.exec(
      `UPDATE ${MARK} SET schema_version = (SELECT schema_version FROM pragma_schema_version)`,
    );
}

/** Notes the triggers as they are now in place. */
export function recordCapture(
  connection: Connection,
  triggers: readonly (TriggerDefinition & { readonly table: string })[],
): void {
  connection.db.exec('DELETE FROM _antiphon_capture');
  const insert = connection.db.prepare('INSERT INTO _antiphon_capture (name, tbl, sql) VALUES (?, ?, ?)');
  for (const { name, table, sql } of triggers) insert.run(name, table, sql);
  markTriggers(connection);
}

/**
 * Notes the triggers of one table: whatever happened to it before has been looked for. What shows
 * that others have a gap is to be kept before (`keepUncaptured`).
 */
export function recordCaptureOf(
  connection: Connection,
  table: TrackedTable,
  triggers: readonly TriggerDefinition[],
): void {
  connection.db.prepare('DELETE FROM _antiphon_capture WHERE tbl = ?').run(table.name);
  connection.db.prepare('DELETE FROM _antiphon_uncaptured WHERE tbl = ?').run(table.name);
  const insert = connection.db.prepare('INSERT INTO _antiphon_capture (name, tbl, sql) VALUES (?, ?, ?)');
  for (const { name, sql } of triggers) insert.run(name, table.name, sql);
  // The table may be younger than the outbox; from now on it is to be older than this one.
  connection.db.exec(`DROP TABLE IF EXISTS ${RECAPTURED}${table.id}`);
  connection.db.exec(`CREATE TABLE ${RECAPTURED}${table.id} (x)`);
  markTriggers(connection);
}

/**
 * Tables whose changes may have gone uncaptured since the triggers were last put in place. Dropping
 * a table drops its triggers, so a trigger that is missing is proof. A tool that puts the triggers
 * back (SQLite's own advice, https://www.sqlite.org/lang_altertable.html section 7) leaves others:
 * the table was created after the outbox, or a trigger after the view that marks them. The order
 * survives VACUUM, which moves root pages.
 */
export function findUncapturedTables(
  connection: Connection,
  tables: readonly LocalTable[],
): UncapturedTable[] {
  const uncaptured = new Map<string, string>();
  const missing = connection.db
    .prepare(
      `SELECT c.name AS name, c.tbl AS tbl, s.sql AS sql FROM _antiphon_capture AS c
       LEFT JOIN sqlite_schema AS s ON s.type = 'trigger' AND s.name = c.name AND s.tbl_name = c.tbl
       WHERE s.sql IS NOT c.sql`,
    )
    .all() as { name: string; tbl: string; sql: string | null }[];
  for (const { name, tbl, sql } of missing) {
    uncaptured.set(
      tbl,
      sql === null
        ? `its trigger ${name} is missing`
        : `its trigger ${name} is not the one that Antiphon made`,
    );
  }
  for (const { name, table } of againCreated(connection))
    if (!uncaptured.has(table)) uncaptured.set(table, `its trigger ${name} was dropped and created again`);
  if (tables.length > 0) {
    const names = tables.map(({ name }) => quoteText(name)).join(', ');
    const rebuilt = connection.db
      .prepare(
        `SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN (${names})
         AND rowid > (SELECT max(o.rowid) FROM sqlite_schema AS o
           WHERE o.type = 'table' AND (o.name = '${CREATED_AFTER_TABLES}' OR o.name =
             (SELECT '${RECAPTURED}' || t.id FROM _antiphon_tables AS t WHERE t.name = sqlite_schema.name)))`,
        'value',
      )
      .all() as string[];
    for (const name of rebuilt)
      if (!uncaptured.has(name)) uncaptured.set(name, 'it was dropped and created again');
  }
  const kept = connection.db
    .prepare('SELECT tbl AS "table", reason FROM _antiphon_uncaptured')
    .all() as UncapturedTable[];
  for (const { table, reason } of kept)
    if (!uncaptured.has(table) && tables.some(({ name }) => name === table)) uncaptured.set(table, reason);
  return [...uncaptured].map(([table, reason]) => ({ table, reason }));
}

/** Our triggers that were, or may have been, dropped and put back. */
function againCreated(connection: Connection): readonly { readonly name: string; readonly table: string }[] {
  const mark = readMark(connection);
  // A file that no build has marked has neither view nor mark. One that has lost its view may have
  // lost triggers with it.
  const none = mark === undefined ? Number.MAX_SAFE_INTEGER : -1;
  const ours = connection.db
    .prepare(
      `SELECT s.name AS name, s.tbl_name AS "table", s.rowid AS place,
         ifnull((SELECT v.rowid FROM sqlite_schema AS v
           WHERE v.type = 'view' AND v.name = '${CREATED_AFTER_TRIGGERS}'), ${none}) AS before
       FROM sqlite_schema AS s JOIN _antiphon_capture AS c ON c.name = s.name WHERE s.type = 'trigger' ORDER BY place`,
    )
    .all() as { name: string; table: string; place: number; before: number }[];
  const end = mark === undefined || mark.isMoved ? Number.MAX_SAFE_INTEGER : mark.place;
  // What was put back stands last: the triggers of a table only together with all that stand behind
  // its first one.
  const isOften = (table: string): boolean => {
    const first = ours.findIndex((trigger) => trigger.table === table);
    return mark?.isMoved === true && mark.changes >= leastChanges(ours.length - first);
  };
  return ours.filter(({ place, before, table }) => place > before || place > end || isOften(table));
}

/** It takes so many to drop the view and some triggers, to put all of them back, and to VACUUM. */
function leastChanges(triggers: number): number {
  return 2 * (triggers + 1) + 1;
}

/**
 * Keeps what was found, in a transaction of its own: the replica may be started again after
 * somebody has put the triggers back. What cannot be kept now is found again at the next look.
 */
export function keepUncapturedTables(connection: Connection, tables: readonly LocalTable[]): void {
  try {
    if (!connection.tryBegin()) return;
    keepUncaptured(connection, findUncapturedTables(connection, tables));
    connection.commit();
  } catch {
    connection.rollback();
  }
}

/** In the caller's transaction. */
export function keepUncaptured(connection: Connection, uncaptured: readonly UncapturedTable[]): void {
  const insert = connection.db.prepare('INSERT OR IGNORE INTO _antiphon_uncaptured VALUES (?, ?)');
  for (const { table, reason } of uncaptured) insert.run(table, reason);
}

export function isUncaptured(thrown: unknown): boolean {
  return (
    thrown instanceof AntiphonError &&
    thrown.code === 'SCHEMA_DRIFT' &&
    thrown.context['uncaptured'] !== undefined
  );
}

export function uncapturedError(uncaptured: readonly UncapturedTable[]): AntiphonError {
  const described = uncaptured.map(({ table, reason }) => `table ${table}: ${reason}`).join('; ');
  const [first] = uncaptured;
  const table = first?.table ?? '';
  return new AntiphonError(
    'SCHEMA_DRIFT',
    `Changes may have gone uncaptured, since a replicated table was rebuilt or lost its triggers (${described}). ` +
      'Replication has stopped here. If rows were lost with it, put them back first, from the file of another ' +
      'replica or from a backup: where others may write here, rows that are missing count as deleted, everywhere. ' +
      `Then see what differs with \`antiphon recapture ${shellWord(table)} --dry-run\`, and run it without ` +
      '`--dry-run`. Replication resumes then.',
    { context: { table, uncaptured: uncaptured.map((gap) => gap.table) } },
  );
}
