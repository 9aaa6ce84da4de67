import type { InstallReport } from '@antiphon/core';
import { uncounted } from './capture-record.js';
import type { Connection } from './connection.js';
import { declaredCollations } from './declared-collations.js';
import { FOREIGN_LEASE } from './foreign-lease.js';
import { ROOM } from './room.js';
import { putGuard } from './guard-view.js';
import { quoteName, quoteText } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';

/** Grows when the metadata tables change their form. */
export const METADATA_FORMAT = 4;
/** A file of this format is brought up to date when its replica is started. */
const FORMAT_BEFORE = 3;

/** What speaks against a file with metadata of this format; undefined when nothing does. */
export function formatObstacle(format: number): string | undefined {
  if (format === METADATA_FORMAT || format === FORMAT_BEFORE) return undefined;
  if (format < FORMAT_BEFORE)
    return (
      `This database has Antiphon metadata of format ${format}, made by an older build than this one can upgrade: ` +
      `it brings files from format ${FORMAT_BEFORE} on to format ${METADATA_FORMAT}. ` +
      'Start the replica once with a build in between, or let it join with an empty file.'
    );
  return (
    `This database has Antiphon metadata of format ${format}, and this build knows format ${METADATA_FORMAT}. ` +
    'Upgrade this replica.'
  );
}

/**
 * Sealed messages are kept under counter × this + part, so that they come back in order by their
 * row numbers.
 */
export const PARTS_PER_COUNTER = 1_048_576n;

// No STRICT here: SQLite before 3.37 must be able to open a replica's file, and shows no table of a
// schema that it cannot read.
const TABLES = [
  // One row: everything that moves with each transaction, since each page that a commit touches
  // costs. `owner` is the store object that has the database open. `vector` is of origins whose
  // counter is newer than the one in the vector's table, as JSON.
  `CREATE TABLE _antiphon_state (
     id INTEGER PRIMARY KEY CHECK (id = 1), applying INTEGER NOT NULL DEFAULT 0,
     format INTEGER NOT NULL, owner TEXT NOT NULL,
     cluster TEXT NOT NULL, replica TEXT NOT NULL, generation TEXT NOT NULL, schema_version INTEGER NOT NULL,
     writes TEXT NOT NULL, primary_replica TEXT, row_versions INTEGER NOT NULL,
     position_generation TEXT NOT NULL, position_seq INTEGER NOT NULL,
     entry_seq INTEGER, entry_stored_at_ms REAL, entry_attempt TEXT,
     own_counter INTEGER NOT NULL, last_counter INTEGER NOT NULL, published_counter INTEGER NOT NULL,
     recovery_counter INTEGER NOT NULL,
     epoch INTEGER NOT NULL, time INTEGER NOT NULL, conflicts INTEGER NOT NULL,
     quarantined INTEGER NOT NULL DEFAULT 0, quarantined_bytes INTEGER NOT NULL DEFAULT 0,
     discarded INTEGER NOT NULL DEFAULT 0,
     revision INTEGER NOT NULL DEFAULT 0,
     vector TEXT NOT NULL DEFAULT '{}')`,
  // Applied per other origin, as far as the state row does not say more.
  `CREATE TABLE _antiphon_vector (origin TEXT PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE _antiphon_sealed (
     id INTEGER PRIMARY KEY, first_counter INTEGER NOT NULL, last_counter INTEGER NOT NULL,
     part INTEGER NOT NULL, last INTEGER NOT NULL,
     changes INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL)`,
  // Of one transaction per origin, its bytes from the beginning; `place` is where those of a part
  // begin.
  `CREATE TABLE _antiphon_parts (
     origin TEXT NOT NULL, counter INTEGER NOT NULL, time INTEGER NOT NULL, place INTEGER NOT NULL,
     body BLOB NOT NULL,
     PRIMARY KEY (origin, place))`,
  `CREATE TABLE _antiphon_quarantine (
     id INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, stored_at_ms REAL NOT NULL,
     origin TEXT NOT NULL, code TEXT NOT NULL,
     message TEXT NOT NULL, data BLOB NOT NULL,
     put_aside_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))`,
  // What the position has passed and that is not here, per origin.
  `CREATE TABLE _antiphon_gaps (
     origin TEXT PRIMARY KEY, expected INTEGER NOT NULL, found INTEGER NOT NULL, seq INTEGER NOT NULL,
     reason TEXT NOT NULL) WITHOUT ROWID`,
  // Replicated tables under the numbers that outbox and triggers use; numbers are never given
  // twice.
  `CREATE TABLE _antiphon_tables (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL)`,
  `CREATE TABLE _antiphon_triggers (name TEXT PRIMARY KEY, tbl TEXT NOT NULL, original TEXT NOT NULL,
    guarded TEXT NOT NULL) WITHOUT ROWID`,
  // Our triggers as they were last put in place: one that is missing or different now is proof that
  // changes went uncaptured.
  `CREATE TABLE _antiphon_capture (name TEXT PRIMARY KEY, tbl TEXT NOT NULL,
    sql TEXT NOT NULL) WITHOUT ROWID`,
  // Numbers of tables whose hidden rows must be looked at again: an own write may have freed what
  // they wait for.
  `CREATE TABLE _antiphon_unsettled (id INTEGER PRIMARY KEY)`,
];

/**
 * What became of synchronous groups. By the log's order, so that a new one is appended to the last
 * page; IF NOT EXISTS because databases from before synchronous updates do not have it.
 */
const OUTCOMES = `CREATE TABLE IF NOT EXISTS _antiphon_outcomes (
   seq INTEGER NOT NULL, first_counter INTEGER NOT NULL, last_counter INTEGER NOT NULL, origin TEXT NOT NULL,
   token TEXT NOT NULL,
   rejected TEXT, PRIMARY KEY (seq, first_counter)) WITHOUT ROWID`;

/**
 * Tables whose changes went uncaptured, until they are recaptured: whoever puts the triggers back
 * puts the proof away.
 */
const UNCAPTURED = `CREATE TABLE IF NOT EXISTS _antiphon_uncaptured (tbl TEXT PRIMARY KEY,
  reason TEXT NOT NULL) WITHOUT ROWID`;

/**
 * Kept rows that are on their way into the log, under the token of their group. IF NOT EXISTS as
 * above.
 */
const KEPT_ATTEMPTS = `CREATE TABLE IF NOT EXISTS _antiphon_kept_attempts (
   token TEXT NOT NULL, tbl INTEGER NOT NULL, kept INTEGER NOT NULL,
   PRIMARY KEY (token, tbl, kept)) WITHOUT ROWID`;

/**
 * Epochs that the position has passed, the newest of them the one that holds: who was the primary,
 * and which of its counters stand for no transaction. IF NOT EXISTS as above.
 */
const EPOCHS = `CREATE TABLE IF NOT EXISTS _antiphon_epochs (
   epoch INTEGER PRIMARY KEY, primary_replica TEXT NOT NULL, instance TEXT NOT NULL, seq INTEGER NOT NULL,
   void_from INTEGER, void_to INTEGER, by TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL,
   leaves TEXT NOT NULL)`;

/**
 * Own transactions that were taken out of the database before the log had them, and their messages
 * in the order of their parts. Numbers are never given twice. IF NOT EXISTS as above.
 */
const RESCUE = [
  `CREATE TABLE IF NOT EXISTS _antiphon_rescue (
     id INTEGER PRIMARY KEY AUTOINCREMENT, counter INTEGER NOT NULL, time INTEGER NOT NULL,
     reason TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'kept', sealed_epoch INTEGER NOT NULL,
     changes INTEGER NOT NULL, tables TEXT NOT NULL, noted_at_ms INTEGER NOT NULL, reapplied_as TEXT)`,
  'CREATE INDEX IF NOT EXISTS _antiphon_rescue_counter ON _antiphon_rescue (counter)',
  `CREATE TABLE IF NOT EXISTS _antiphon_rescue_data (
     rescue INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (rescue, part))`,
];

/**
 * As of the last rewind: the highest own number that was given, and the epoch in which this replica
 * takes no writes any more. At most one row, in a table of its own: the state row keeps its form.
 */
const REWOUND = `CREATE TABLE IF NOT EXISTS _antiphon_rewound (
   id INTEGER PRIMARY KEY CHECK (id = 1), spent INTEGER NOT NULL, epoch INTEGER NOT NULL)`;

/** The last conflicts, with both rows as a document. IF NOT EXISTS as above. */
const CONFLICTS = `CREATE TABLE IF NOT EXISTS _antiphon_conflicts (
   id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, data BLOB NOT NULL)`;

/**
 * The cluster's description, as of the last start: at most one row. A registry that holds nothing
 * readable in its place does not keep this replica from starting.
 */
const AGREEMENT = `CREATE TABLE IF NOT EXISTS _antiphon_agreement (
   id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL)`;

export function createMetadata(connection: Connection): void {
  for (const sql of TABLES) connection.db.exec(sql);
  completeMetadata(connection);
  putGuard(connection);
}

/**
 * Brings a file of the format before to this one; undefined when it is of this one. After it was
 * looked for uncaptured changes: how often the schema was changed tells something there.
 */
export function upgradeMetadata(connection: Connection): InstallReport['upgraded'] {
  if (isOfThisFormat(connection)) return undefined;
  const { db } = connection;
  uncounted(connection, () => {
    db.exec('ALTER TABLE _antiphon_state ADD COLUMN applying INTEGER NOT NULL DEFAULT 0');
    db.exec(`ALTER TABLE _antiphon_state ADD COLUMN vector TEXT NOT NULL DEFAULT '{}'`);
    // In the place of a table.
    putGuard(connection);
  });
  db.exec(`UPDATE _antiphon_state SET format = ${METADATA_FORMAT}`);
  return { fromFormat: FORMAT_BEFORE, toFormat: METADATA_FORMAT };
}

function isOfThisFormat({ db }: Connection): boolean {
  return db.prepare('SELECT format FROM _antiphon_state', 'value').get() === METADATA_FORMAT;
}

/** Whoever drops all views of a database takes the guard along. */
export function restoreGuard(connection: Connection): void {
  if (isOfThisFormat(connection)) uncounted(connection, () => putGuard(connection));
}

/** What is written from here on is not captured, until `captureAgain` or the state is stored. */
export function captureNothing(connection: Connection): void {
  connection.statement('UPDATE _antiphon_state SET applying = 1 WHERE id = 1').run();
}

export function captureAgain(connection: Connection): void {
  connection.statement('UPDATE _antiphon_state SET applying = 0 WHERE id = 1').run();
}

/** Adds what builds of the same format before this one did not have, and what others dropped. */
export function completeMetadata(connection: Connection): void {
  uncounted(connection, () => {
    const later = [
      OUTCOMES,
      UNCAPTURED,
      KEPT_ATTEMPTS,
      EPOCHS,
      ...RESCUE,
      REWOUND,
      CONFLICTS,
      FOREIGN_LEASE,
      ROOM,
      AGREEMENT,
    ];
    for (const sql of later) connection.db.exec(sql);
  });
  restoreGuard(connection);
}

function outboxWidth(connection: Connection): number {
  const columns = connection.db
    .prepare(`SELECT name FROM pragma_table_info('_antiphon_outbox') WHERE name GLOB 'n[0-9]*'`, 'value')
    .all();
  return columns.length;
}

/**
 * `t` is a table's number, `at` when the change was made (a Julian day) and `total` how many
 * changes its connection had made before: sealing tells from them which rows were committed apart,
 * and when (captured-times.ts). The outbox takes native values of any type, so its columns have
 * none. Its rows are sealed and deleted in one transaction, so nothing outlives a number that is
 * given again: AUTOINCREMENT would only cost (a fifth of a captured insert).
 */
export function createOutbox(connection: Connection, tables: readonly TrackedTable[]): void {
  const width = Math.max(1, ...tables.map(({ columns }) => columns.length));
  const present = outboxWidth(connection);
  if (present >= width) return;
  if (present > 0) {
    for (let index = present; index < width; index++)
      connection.db.exec(`ALTER TABLE _antiphon_outbox ADD COLUMN n${index}`);
    for (let index = present; index < width; index++)
      connection.db.exec(`ALTER TABLE _antiphon_outbox ADD COLUMN o${index}`);
    return;
  }
  const columns = (image: string): string =>
    Array.from({ length: width }, (_, index) => `${image}${index}`).join(', ');
  connection.db.exec(
    `CREATE TABLE _antiphon_outbox (seq INTEGER PRIMARY KEY, t, op, at, total, ${columns('n')}, ${columns('o')})`,
  );
}

export function versionTable(table: TrackedTable): string {
  return `_antiphon_v${table.id}`;
}

export function keyNames(table: TrackedTable): string[] {
  return table.key.map((_, index) => `k${index}`);
}

/**
 * Version of each row that is or was there (`dead`), by key. Keys compare as in the table itself.
 */
export function createVersionTable(connection: Connection, table: TrackedTable): void {
  const version =
    'time INTEGER NOT NULL, origin TEXT NOT NULL, counter INTEGER NOT NULL, dead INTEGER NOT NULL';
  if (table.rowidKey) {
    connection.db.exec(
      `CREATE TABLE IF NOT EXISTS ${versionTable(table)} (k0 INTEGER PRIMARY KEY, ${version})`,
    );
    return;
  }
  const columns = table.key.map((part, index) => `k${index} COLLATE ${quoteName(part.collation)}`).join(', ');
  connection.db.exec(
    `CREATE TABLE IF NOT EXISTS ${versionTable(table)} (${columns}, ${version}, ` +
      `PRIMARY KEY (${keyNames(table).join(', ')})) WITHOUT ROWID`,
  );
}

export function hiddenTable(table: TrackedTable): string {
  return `_antiphon_d${table.id}`;
}

/**
 * Rows that lost a secondary unique key to a row of a higher version wait here with their content
 * (I10). Column for column like the table itself, so that values and the conditions of partial
 * indexes mean the same.
 */
export function createHiddenTable(connection: Connection, table: TrackedTable): void {
  const name = hiddenTable(table);
  // The condition of a partial index is asked of hidden rows as well, and compares as the columns
  // do.
  const isPartial = table.uniqueIndexes.some(({ where }) => where !== undefined);
  const names = table.columns.map((column) => column.name);
  const collations = isPartial ? declaredCollations(connection, table.name, names) : [];
  const columns = table.columns.map(({ declaredType, affinity }, index) => {
    // ANY keeps values as they are in a STRICT table only, which this one is not.
    const type = affinity === 'none' ? '' : quoteName(declaredType);
    return `${columnName(table, index)} ${type} COLLATE ${quoteName(collations[index] ?? 'BINARY')}`;
  });
  connection.db.exec(`CREATE TABLE IF NOT EXISTS ${name} (${columns.join(', ')})`);
  const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
  connection.db.exec(`CREATE UNIQUE INDEX IF NOT EXISTS ${name}_key ON ${name} (${key})`);
  table.uniqueIndexes.forEach((index, number) => {
    const parts = index.columns.map(
      ({ column, collation }) => `${columnName(table, column)} COLLATE ${quoteName(collation)}`,
    );
    connection.db.exec(`CREATE INDEX IF NOT EXISTS ${name}_u${number} ON ${name} (${parts.join(', ')})`);
  });
}

export function keptTable(table: TrackedTable): string {
  return `_antiphon_kept${table.id}`;
}

/**
 * Rows that were set back to what replication knows: as they were, or as they are again when they
 * had been gone. Nobody but an operator reads it. `_antiphon_doubt` says why a row is not written
 * again without being asked.
 */
export function createKeptTable(connection: Connection, table: TrackedTable): void {
  const columns = table.columns.map(
    // ANY keeps values as they are in a STRICT table only, which this one is not.
    ({ declaredType, affinity }, index) =>
      `${columnName(table, index)} ${affinity === 'none' ? '' : quoteName(declaredType)}`,
  );
  const name = keptTable(table);
  connection.db.exec(
    `CREATE TABLE IF NOT EXISTS ${name} (_antiphon_rowid INTEGER PRIMARY KEY,
      _antiphon_kind TEXT, _antiphon_at TEXT, _antiphon_doubt TEXT, ${columns.join(', ')})`,
  );
  const doubt = `SELECT 1 FROM pragma_table_info(${quoteText(name)}) WHERE name = '_antiphon_doubt'`;
  if (connection.db.prepare(doubt).get() === undefined)
    connection.db.exec(`ALTER TABLE ${name} ADD COLUMN _antiphon_doubt TEXT`);
  const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
  connection.db.exec(`CREATE INDEX IF NOT EXISTS ${name}_key ON ${name} (${key})`);
}
