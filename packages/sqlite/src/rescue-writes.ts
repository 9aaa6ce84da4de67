import {
  AntiphonError,
  type Change,
  MAX_RESCUE_CONFLICTS,
  type RescueChange,
  type RescueConflict,
  type RescueWrite,
  sentence,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { isRefusal } from './errors.js';
import { captureAgain, captureNothing } from './metadata.js';
import { parentsFirst, referencesBetween } from './references.js';
import { ImagesOfTables, type RowImages } from './row-images.js';
import type { Session } from './session.js';
import { mappingAt, mappingsOf } from './table-mapping.js';

const ATTEMPT = '_antiphon_rescue_attempt';
/** One for each level of a tree: each looks through the table for every row that is to go. */
const MAX_PASSES = 64;

/** Inside the function of a write, on the writing connection; see the port. */
export function writeRescued(
  session: Session,
  changes: readonly RescueChange[],
  { force }: { readonly force: boolean },
): RescueWrite {
  const { writer } = session;
  const images = new ImagesOfTables(writer);
  try {
    noteAll(session, images, changes);
    const all = inOrder(session, images);
    let [written, present, conflicting] = [0, 0, 0];
    const conflicts: RescueConflict[] = [];
    for (const one of all) {
      one.forgetUnchanged();
      const { count } = one;
      one.forgetDone();
      written += one.count;
      present += count - one.count;
      if (force) continue;
      conflicting += one.conflicting;
      conflicts.push(...one.conflicts(MAX_RESCUE_CONFLICTS - conflicts.length));
    }
    if (conflicting > 0) return { written: 0, present, conflicting, conflicts };
    if (written > 0) writeAll(writer, all);
    return { written, present, conflicting, conflicts };
  } finally {
    images.drop();
  }
}

function noteAll({ tables }: Session, images: ImagesOfTables, changes: readonly RescueChange[]): void {
  const byName = new Map(tables.map((table) => [table.name, table]));
  for (const change of changes) {
    const { table: name, columns, key } = change;
    const dictionary = [{ name, columns, key: key.map((_, index) => index) }];
    const mappings = mappingsOf(dictionary, byName);
    images.note(asChange(change), mappingAt(mappings, 0));
  }
}

function asChange({ op, columns, before, after }: RescueChange): Change {
  const row = (op === 'delete' ? before : after) ?? [];
  if (op !== 'update') return { table: 0, op, row };
  return { table: 0, op, row, changed: columns.map((_, index) => index), before: before ?? [] };
}

/** Parents before what refers to them. */
function inOrder({ tables }: Session, images: ImagesOfTables): readonly RowImages[] {
  const byTable = new Map([...images].map((one) => [one.table, one]));
  return parentsFirst(tables).flatMap((table) => byTable.get(table) ?? []);
}

interface Way {
  /** How many rows of these it changes, if nothing else does. */
  expects(counts: ReturnType<RowImages['counts']>): number;
  write(all: readonly RowImages[]): void;
}

/**
 * Which of them works depends on which rows want each other's unique values, and which refer to
 * each other.
 */
const WAYS: readonly Way[] = [
  {
    expects: ({ gone, there }) => gone + there,
    write: (all) => {
      for (const one of all) one.put();
      deleteAll(all, 'gone');
    },
  },
  {
    expects: ({ gone, there }) => gone + there,
    write: (all) => {
      deleteAll(all, 'gone');
      for (const one of all) one.put();
    },
  },
  {
    expects: ({ here, there }) => here + there,
    write: (all) => {
      deleteAll(all, 'all');
      for (const one of all) one.restore('l');
    },
  },
];

/**
 * What refers to others before them, so that no foreign key changes or deletes a row: table after
 * table and, where tables refer to themselves or to each other, row after row. Rows that refer to
 * each other in a circle go at once; what a foreign key does then is noticed.
 */
function deleteAll(all: readonly RowImages[], which: 'gone' | 'all'): void {
  const order = all.map(({ table }) => table);
  const references = referencesBetween(order);
  if (references.some(({ child, parent }) => order.indexOf(child) <= order.indexOf(parent))) {
    const pass = (one: RowImages): number =>
      one.delete(
        which,
        references.filter(({ parent }) => parent === one.table),
      );
    for (let passes = 0; passes < MAX_PASSES; passes++) {
      const deleted = all.toReversed().reduce((sum, one) => sum + pass(one), 0);
      if (deleted === 0) break;
    }
  }
  for (const one of all.toReversed()) one.delete(which);
}

function writeAll(connection: Connection, all: readonly RowImages[]): void {
  const { db } = connection;
  for (const one of all) one.capture();
  let refusal: unknown;
  for (const way of WAYS) {
    db.exec(`SAVEPOINT ${ATTEMPT}`);
    try {
      attempt(connection, all, way);
      db.exec(`RELEASE ${ATTEMPT}`);
      return;
    } catch (thrown) {
      if (!(isRefusal(thrown) || isConstraint(thrown)) || !connection.inTransaction) throw thrown;
      db.exec(`ROLLBACK TO ${ATTEMPT}; RELEASE ${ATTEMPT}`);
      refusal ??= thrown;
    }
  }
  throw isConstraint(refusal) ? refusal : refused(all, String((refusal as Error).message), refusal);
}

/** What is captured is what was noted of these rows: nothing else may change with them. */
function attempt(connection: Connection, all: readonly RowImages[], way: Way): void {
  const { db } = connection;
  const expected = all.reduce((sum, one) => sum + way.expects(one.counts()), 0);
  db.exec('PRAGMA defer_foreign_keys = ON');
  captureNothing(connection);
  try {
    const before = totalChanges(connection);
    way.write(all);
    if (totalChanges(connection) - before !== expected)
      throw refused(all, 'rows that refer to one of them would be changed or deleted with it');
    if (db.violatesForeignKeys())
      throw refused(all, 'a row refers to one that is not there: FOREIGN KEY constraint failed');
  } finally {
    if (connection.inTransaction) {
      captureAgain(connection);
      db.exec('PRAGMA defer_foreign_keys = OFF');
    }
  }
}

/** Also what foreign keys did. */
function totalChanges(connection: Connection): number {
  return connection.statement('SELECT total_changes()', 'value').get() as number;
}

function isConstraint(thrown: unknown): boolean {
  return thrown instanceof AntiphonError && thrown.code === 'CONSTRAINT';
}

function refused(all: readonly RowImages[], why: string, cause?: unknown): AntiphonError {
  const names = all.map(({ table }) => table.name).join(', ');
  return new AntiphonError(
    'CONSTRAINT',
    `The rescued rows of ${names} cannot be written again: ${sentence(why)}`,
    { cause },
  );
}
