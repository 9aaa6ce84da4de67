import { DEFAULT_ROW_LIMITS, type RowLimits } from '@antiphon/core';
import { balanced } from './balanced.js';
import { refuseUnattended } from './foreign-lease.js';
import { quoteName, quoteText } from './identifiers.js';
import {
  collated,
  columnName,
  type IndexedColumn,
  LEAST_INTEGER,
  mayLoseOverwritten,
  type TrackedTable,
  type UniqueIndex,
} from './local-table.js';
import { REFUSAL_PREFIX } from './errors.js';
import { OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_SUSPECT, OUTBOX_UPDATE } from './outbox-kinds.js';
import { describeRowLimits, isTooLarge } from './row-limits.js';
import { NOT_APPLYING } from './trigger-guard.js';

/**
 * When a change was made, and by which connection, as far as triggers can tell. What is cheapest
 * per row: neither a conversion nor text. Both are as old as the oldest SQLite that may write here.
 */
const WHEN_MADE = 'julianday(), total_changes()';

/** Captured rows are numbered from 1. */
export const ADMITTING_SEQ = 0;

export const NOT_ADMITTED = `NOT EXISTS (SELECT 1 FROM _antiphon_outbox WHERE seq = ${ADMITTING_SEQ})`;

export interface TriggerDefinition {
  readonly name: string;
  readonly sql: string;
}

function named(table: TrackedTable, kind: string): string {
  return `_antiphon_${kind}${table.id}`;
}

export function definition(
  table: TrackedTable,
  kind: string,
  event: string,
  when: string,
  body: readonly string[],
): TriggerDefinition {
  const name = named(table, kind);
  const sql =
    `CREATE TRIGGER ${quoteName(name)} ${event} ON ${quoteName(table.name)} ` +
    `WHEN ${when} BEGIN ${body.join('; ')}; END`;
  return { name, sql };
}

function outboxColumns(table: TrackedTable, image: 'n' | 'o'): string {
  return table.columns.map((_, index) => `${image}${index}`).join(', ');
}

export function values(table: TrackedTable, source: string): string {
  return table.columns.map((_, index) => `${source}.${columnName(table, index)}`).join(', ');
}

function put(table: TrackedTable, kind: number, image: 'n' | 'o', source: string): string {
  return `${into(table, image)} VALUES (${table.id}, ${kind}, ${WHEN_MADE}, ${values(table, source)})`;
}

function into(table: TrackedTable, image: 'n' | 'o'): string {
  return `INSERT INTO _antiphon_outbox (t, op, at, total, ${outboxColumns(table, image)})`;
}

/** Rows of a FROM clause, by its name for them, as what may be lost. */
function suspectRows(table: TrackedTable, row: string): string {
  return `${into(table, 'o')} SELECT ${table.id}, ${OUTBOX_SUSPECT}, ${WHEN_MADE}, ${values(table, row)}`;
}

export function sameKey(table: TrackedTable, row: string, other: string): string {
  return isKey(table, row, (column) => `${other}.${columnName(table, column)}`);
}

/** Before the row is written. */
function hasNewKey(table: TrackedTable, row: string): string {
  return isKey(table, row, (column) => newValue(table, column));
}

function isKey(table: TrackedTable, row: string, valueOf: (column: number) => string): string {
  const terms = table.key.map((part) => {
    const name = columnName(table, part.column);
    return `${row}.${name} IS ${collated(table, valueOf(part.column), part)}`;
  });
  return balanced(terms, 'AND');
}

/** REPLACE turns NULL in a NOT NULL column into the default, after BEFORE triggers have run. */
function newValue(table: TrackedTable, column: number): string {
  const name = `NEW.${columnName(table, column)}`;
  const details = table.columns[column];
  const hasDefault = details?.notNull === true && details.defaultSql !== undefined;
  return hasDefault ? `coalesce(${name}, ${details.defaultSql})` : name;
}

/** Exact: text by its bytes, and 1 is not 1.0 where the column keeps them apart. */
export function differ(table: TrackedTable, columns: readonly number[]): string {
  const bytes = columns.map((index) => {
    const name = columnName(table, index);
    return `OLD.${name} IS NOT NEW.${name} COLLATE BINARY`;
  });
  // Behind them: most changes end the search before.
  const types = columns.flatMap((index) => {
    const name = columnName(table, index);
    const differ = `typeof(OLD.${name}) <> typeof(NEW.${name})`;
    if (table.rowidKey && table.key.some(({ column }) => column === index)) return [];
    switch (table.columns[index]?.affinity) {
      case 'none':
        return [differ];
      case 'integer':
      case 'numeric':
        // Any other number has one form in such a column.
        return [`OLD.${name} = ${LEAST_INTEGER} AND ${differ}`];
      default:
        return [];
    }
  });
  return balanced([...bytes, ...types], 'OR');
}

/**
 * SQLite lets NULL into keys of old-style tables, and several of them: such a row has no identity.
 */
function refuseNullKeys(table: TrackedTable): string[] {
  if (table.rowidKey) return [];
  const nullable = table.key.filter(({ column }) => table.columns[column]?.notNull !== true);
  if (nullable.length === 0) return [];
  const message = quoteText(
    `antiphon: a row of ${table.name} needs a value in every column of its primary key to be replicated`,
  );
  const isNull = balanced(
    nullable.map(({ column }) => `NEW.${columnName(table, column)} IS NULL`),
    'OR',
  );
  return [`SELECT RAISE(ABORT, ${message}) WHERE ${isNull}`];
}

/**
 * What no message of the log can hold must not be committed: once it is captured it would stop this
 * replica, also after it was deleted again. Numbers are small whatever they are.
 */
function refuseLargeRows(table: TrackedTable, limits: RowLimits): string[] {
  const values = table.columns.flatMap(({ affinity }, index) =>
    affinity === 'integer' || affinity === 'real' ? [] : [`NEW.${columnName(table, index)}`],
  );
  if (values.length === 0) return [];
  const message = quoteText(
    `antiphon: a row of ${table.name} is too large to be replicated: ${describeRowLimits(limits)}; ` +
      'split the value, or keep it outside of the database',
  );
  return [`SELECT RAISE(ABORT, ${message}) WHERE ${isTooLarge(values, limits)}`];
}

/** Whether a row has what the new row is to have in these columns, as their index compares them. */
export function isUniqueMatch(table: TrackedTable, columns: readonly IndexedColumn[], row: string): string {
  const terms = columns.map(({ column, collation }) => {
    const value = newValue(table, column);
    return `${row}.${columnName(table, column)} = ${value} COLLATE ${quoteName(collation)}`;
  });
  return balanced(terms, 'AND');
}

/**
 * The rows that an index has. Of a partial one by its own condition: without that SQLite cannot use
 * it, and every insert would look at all rows.
 */
export function rowsIn(table: TrackedTable, { where }: Pick<UniqueIndex, 'where'>): string {
  const name = quoteName(table.name);
  return where === undefined ? name : `(SELECT * FROM ${name} WHERE ${where})`;
}

function putSuspects(table: TrackedTable, index: UniqueIndex, self: 'NEW' | 'OLD'): string {
  // Before an insert that lets SQLite choose the row's number, that number is shown as -1, which
  // may be another row's.
  const [first] = table.key;
  const unnumbered =
    table.rowidKey && self === 'NEW' && first !== undefined
      ? ` AND NEW.${columnName(table, first.column)} <> -1`
      : '';
  const row = '_antiphon_row';
  const isSelf = self === 'NEW' ? hasNewKey(table, row) : sameKey(table, row, self);
  return (
    `${suspectRows(table, row)} ` +
    `FROM ${rowsIn(table, index)} AS ${row} WHERE ${isUniqueMatch(table, index.columns, row)} ` +
    `AND NOT (${isSelf}${unnumbered})`
  );
}

/** The row that has the new key; see `mayLoseOverwritten`. */
function putOverwritten(table: TrackedTable): string {
  const row = '_antiphon_row';
  return (
    `${suspectRows(table, row)} ` + `FROM ${quoteName(table.name)} AS ${row} WHERE ${hasNewKey(table, row)}`
  );
}

/** The other row that has the number that the new row is to have. */
function putNumbered(table: TrackedTable, rowid: string): string {
  const row = '_antiphon_row';
  return (
    `${suspectRows(table, row)} ` +
    `FROM ${quoteName(table.name)} AS ${row} WHERE ${row}.${rowid} = NEW.${rowid} ` +
    `AND NOT (${hasNewKey(table, row)})`
  );
}

/**
 * A table with a key of its own numbers its rows as well, and who names that number may take
 * another row's. Before an insert that lets SQLite choose, the number is shown as -1, which a row
 * can have.
 */
function numberTriggers(table: TrackedTable): TriggerDefinition[] {
  const { hiddenRowid: rowid } = table;
  if (rowid === undefined) return [];
  const isTaken = `EXISTS (SELECT 1 FROM ${quoteName(table.name)} WHERE ${rowid} = -1)`;
  const mayInsert = `(NEW.${rowid} <> -1 OR ${isTaken}) AND ${NOT_APPLYING}`;
  const put = [putNumbered(table, rowid)];
  return [
    definition(table, 'number_insert', 'BEFORE INSERT', mayInsert, put),
    definition(
      table,
      'number_update',
      'BEFORE UPDATE',
      `NEW.${rowid} <> OLD.${rowid} AND ${NOT_APPLYING}`,
      put,
    ),
  ];
}

/** Whether an update may bring a row into a unique index, at a place where another row is. */
function mayEnterIndex(table: TrackedTable, notesOverwritten: boolean): string {
  // Into a partial one by any column: its condition may look at all of them.
  const isPartial = table.uniqueIndexes.some(({ where }) => where !== undefined);
  const columns = isPartial
    ? table.columns.map((_, index) => index)
    : table.uniqueIndexes.flatMap((index) => index.columns.map(({ column }) => column));
  const key = notesOverwritten ? table.key.map(({ column }) => column) : [];
  return differ(table, [...new Set([...key, ...columns])]);
}

/**
 * Rows that `INSERT OR REPLACE` and `UPDATE OR REPLACE` delete through another unique key go
 * without a delete trigger (unless recursive_triggers is on, which is up to each program). So they
 * are noted before; sealing finds out which of them are gone. `undoable`: so is the row whose
 * key the new one takes, since what replaces it does not show what it was.
 */
function suspectTriggers(table: TrackedTable, undoable: boolean): TriggerDefinition[] {
  const inserting = table.uniqueIndexes.map((index) => putSuspects(table, index, 'NEW'));
  if (undoable || table.mixesConflictClauses) inserting.push(putOverwritten(table));
  const updating = table.uniqueIndexes.map((index) => putSuspects(table, index, 'OLD'));
  const notesOverwritten = undoable || mayLoseOverwritten(table);
  if (notesOverwritten) {
    const keyDiffers = differ(
      table,
      table.key.map(({ column }) => column),
    );
    updating.push(`${putOverwritten(table)} AND (${keyDiffers})`);
  }
  const mayUpdate = `${NOT_APPLYING} AND (${mayEnterIndex(table, notesOverwritten)})`;
  return [
    ...(inserting.length === 0
      ? []
      : [definition(table, 'suspect_insert', 'BEFORE INSERT', NOT_APPLYING, inserting)]),
    ...(updating.length === 0
      ? []
      : [definition(table, 'suspect_update', 'BEFORE UPDATE', mayUpdate, updating)]),
  ];
}

/** Other programs' statements end here, and whatever they did is taken back. */
function refuseOthers(): string {
  const message =
    `${REFUSAL_PREFIX} of a synchronous cluster, and another program cannot wait for the other replicas; ` +
    'write through the replica (antiphon exec, or the library), or allow such writes with update.foreignWrites: async';
  return `SELECT RAISE(ABORT, ${quoteText(message)}) WHERE ${NOT_ADMITTED}`;
}

export interface CaptureOptions {
  /** Whose changes; others' are refused. */
  readonly whom: 'anybody' | 'library';
  /** With what each row was before. */
  readonly undoable?: boolean;
  /** Refused while nobody has been here for long. */
  readonly attended?: boolean;
  readonly limits?: RowLimits | undefined;
}

/**
 * Triggers that put every change of a row into the outbox.
 */
export function captureTriggers(
  table: TrackedTable,
  { whom, undoable = false, attended = false, limits = DEFAULT_ROW_LIMITS }: CaptureOptions,
): TriggerDefinition[] {
  const others = whom === 'library' ? [refuseOthers()] : attended ? [refuseUnattended(NOT_ADMITTED)] : [];
  const large = refuseLargeRows(table, limits);
  const checks = [...others, ...refuseNullKeys(table), ...large];
  // Also when only the bytes of the key change and the key's collation sees no difference: an
  // update never changes its key.
  const keyDiffers = differ(
    table,
    table.key.map(({ column }) => column),
  );
  const valuesDiffer = differ(
    table,
    table.columns.map((_, index) => index),
  );
  const both =
    `INSERT INTO _antiphon_outbox (t, op, at, total, ${outboxColumns(table, 'n')}, ${outboxColumns(table, 'o')}) ` +
    `VALUES (${table.id}, ${OUTBOX_UPDATE}, ${WHEN_MADE}, ${values(table, 'NEW')}, ${values(table, 'OLD')})`;
  return [
    ...suspectTriggers(table, undoable),
    ...numberTriggers(table),
    definition(table, 'insert', 'AFTER INSERT', NOT_APPLYING, [
      ...checks,
      put(table, OUTBOX_INSERT, 'n', 'NEW'),
    ]),
    definition(table, 'delete', 'AFTER DELETE', NOT_APPLYING, [
      ...others,
      put(table, OUTBOX_DELETE, 'o', 'OLD'),
    ]),
    definition(
      table,
      'update',
      'AFTER UPDATE',
      `${NOT_APPLYING} AND (${valuesDiffer}) AND NOT (${keyDiffers})`,
      [...others, ...large, both],
    ),
    definition(table, 'rekey', 'AFTER UPDATE', `${NOT_APPLYING} AND (${keyDiffers})`, [
      ...checks,
      put(table, OUTBOX_DELETE, 'o', 'OLD'),
      put(table, OUTBOX_INSERT, 'n', 'NEW'),
    ]),
  ];
}

/**
 * Triggers that refuse every write but the applier's, also by other programs. RAISE(ABORT) takes
 * the statement back whether it comes before or after the row is written; after is cheaper for the
 * applier, by a fifth of an upsert.
 */
export function refusalTriggers(table: TrackedTable, primary: string | undefined): TriggerDefinition[] {
  const where = primary === undefined ? 'write to the primary' : `write to the primary ${primary}`;
  const refuse = `SELECT RAISE(ABORT, ${quoteText(`${REFUSAL_PREFIX}; ${where}`)})`;
  return ['INSERT', 'UPDATE', 'DELETE'].map((event) =>
    definition(table, `refuse_${event.toLowerCase()}`, `AFTER ${event}`, NOT_APPLYING, [refuse]),
  );
}
