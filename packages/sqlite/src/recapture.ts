import { existsSync, rmSync } from 'node:fs';
import {
  deletesMost,
  AntiphonError,
  compareVectors,
  isSameName,
  type UncapturedTable,
  type CompareOptions,
  type KeptTable,
  type RecaptureReport,
  type Recapturing,
  type Store,
  tablesToName,
} from '@antiphon/core';
import { balanced } from './balanced.js';
import { findUncapturedTables } from './capture-record.js';
import type { Connection } from './connection.js';
import type { CurrentState } from './current-state.js';
import { storeError } from './errors.js';
import { quoteName, quoteText } from './identifiers.js';
import { keptRows, setBack, tablesWithKept } from './kept-rows.js';
import { keyBytesMayDiffer, type TrackedTable } from './local-table.js';
import { keptTable } from './metadata.js';
import { OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_UPDATE } from './outbox-kinds.js';
import { Pace } from './pace.js';
import type { Session } from './session.js';
import { isUndoable, type ReplicaState } from './state.js';
import { CHANGED, DIFFERENCES, KNOWN, MISSING_HERE, ONLY_HERE, TableDifference } from './table-difference.js';
import { installTriggersOf, rescanTables } from './tracked-tables.js';

/** A count of changes that no connection has: what comes after it was written by another one. */
const LAST_OF_ITS_CONNECTION = 1_999_999_999;

/** By who may write: what nobody else may write cannot become a change of this replica as it is. */
const WAYS = { capture: 'capture', library: 'write-again', refuse: 'set-back' } as const;

/** What of the store is needed. */
export interface RecaptureDeps {
  readonly file: string;
  session(): Session;
  readonly state: CurrentState;
  newStore(file: string): Store;
}

/**
 * Finds what changed in a table while nobody captured it; see the port. The reference is a file
 * beside the database.
 */
export class Recapture implements Recapturing {
  readonly #referenceFile: string;
  #reference: Store | undefined;

  constructor(private readonly deps: RecaptureDeps) {
    this.#referenceFile = `${deps.file}-recapture`;
  }

  uncaptured(): readonly UncapturedTable[] {
    const { writer, tables } = this.deps.session();
    try {
      return findUncapturedTables(writer, tables);
    } catch (thrown) {
      throw storeError(thrown, 'Reading the triggers failed');
    }
  }

  kept(): readonly KeptTable[] {
    const { writer, tables, policy } = this.deps.session();
    // What a replica of a primary has kept is for its operator.
    if (policy.writes !== 'library') return [];
    try {
      return keptRows(writer, tables);
    } catch (thrown) {
      throw storeError(thrown, 'Reading the kept rows failed');
    }
  }

  writeKept(only?: string): number {
    const { writer, tables, kept } = this.deps.session();
    const lots = kept.write(
      writer,
      tablesWithKept(writer, tables).filter(({ name }) => only === undefined || isSameName(name, only)),
    );
    return lots.reduce((sum, { rows }) => sum + rows.length, 0);
  }

  async open(): Promise<Store> {
    await this.end();
    this.#reference = this.deps.newStore(this.#referenceFile);
    return this.#reference;
  }

  /** Also removes what a process left behind that was killed. */
  async end(): Promise<void> {
    await this.#reference?.close();
    this.#reference = undefined;
    // At once: a wait for real I/O would make no two simulated starts the same.
    for (const suffix of ['', '-wal', '-shm', '-journal'])
      // `force` does not cover a path that leads through a file.
      if (existsSync(`${this.#referenceFile}${suffix}`))
        rmSync(`${this.#referenceFile}${suffix}`, { force: true });
  }

  async compare(name: string, options: CompareOptions): Promise<RecaptureReport> {
    if (this.#reference === undefined)
      throw new AntiphonError('INTERNAL', 'There is nothing to compare with.');
    await this.#reference.close();
    this.#reference = undefined;
    const { state } = this.deps;
    return state.exclusively(async () => {
      const session = this.deps.session();
      const { applier } = session;
      const work = (draft: ReplicaState): Promise<RecaptureReport> => this.#compare(draft, name, options);
      try {
        applier.db.exec(`ATTACH ${quoteText(this.#referenceFile)} AS ${KNOWN}`);
        return await (options.dryRun
          ? state.rehearsal(applier, work)
          : state.transaction(session, applier, work));
      } catch (thrown) {
        throw storeError(thrown, `Recapturing table ${name} failed`);
      } finally {
        if (applier.db.isOpen) applier.db.exec(`DETACH ${KNOWN}`);
      }
    });
  }

  async #compare(
    draft: ReplicaState,
    name: string,
    { dryRun, vector, lastCounter, deleteRows = false }: CompareOptions,
  ): Promise<RecaptureReport> {
    const session = this.deps.session();
    const connection = session.applier;
    if (draft.lastCounter !== lastCounter || compareVectors(draft.vector, vector) !== 'equal')
      throw moved(name);
    const tables = rescanTables(connection, session.tables);
    const table = tables.find((candidate) => isSameName(candidate.name, name));
    if (table === undefined) throw unknownTable(name, tables);
    const uncaptured = findUncapturedTables(connection, tables);
    const reason = uncaptured.find((gap) => gap.table === table.name)?.reason;
    const { rowLimits } = session.policy;
    const difference = new TableDifference(connection, table, (draft.hidden[table.id] ?? 0) > 0, rowLimits);
    await difference.find(Pace.ordinary(connection.surroundings));
    const way = WAYS[session.policy.writes];
    const [onlyHere, missingHere] = [difference.count(ONLY_HERE), difference.count(MISSING_HERE)];
    const present = connection.db.prepare(`SELECT count(*) FROM ${quoteName(name)}`, 'value').get() as number;
    const report = {
      table: name,
      ...(reason !== undefined && { reason }),
      way,
      changed: difference.count(CHANGED),
      onlyHere,
      missingHere,
      knownRows: present - onlyHere.count + missingHere.count,
      remaining: uncaptured.map((gap) => gap.table).filter((other) => other !== name),
    } as const;
    const rows = report.changed.count + report.onlyHere.count + report.missingHere.count;
    if (!dryRun && !deleteRows && deletesMost(report)) throw deletesRows(report);
    if (!dryRun) {
      installTriggersOf(connection, table, tables, session.policy);
      if (way === 'capture') {
        if (rows > 0) capture(connection, table);
        if (isUndoable(session.policy)) captureBefore(connection, table, difference);
      } else if (rows > 0) setBack(connection, table, difference);
      session.kept.startOver();
    }
    difference.drop();
    return rows > 0 && way !== 'capture' && !dryRun ? { ...report, keptIn: keptTable(table) } : report;
  }
}

/**
 * As triggers would have captured it now, in one transaction of its own: deletes first, which make
 * room for what comes after them. Sealing is left to whoever seals what other programs wrote.
 */
function capture(connection: Connection, table: TrackedTable, writtenAt: number | null = null): void {
  const { db } = connection;
  const last = 'SELECT coalesce(max(seq), 0) FROM _antiphon_outbox';
  const before = db.prepare(last, 'value').get() as number;
  const at = writtenAt ?? (db.prepare('SELECT julianday()', 'value').get() as number);
  const images = (prefix: 'n' | 'o'): string =>
    table.columns.map((_, column) => `${prefix}${column}`).join(', ');
  const rekeyed = keyBytesDiffer(table);
  const put = (op: number, columns: string, where: string): void => {
    db.prepare(
      `INSERT INTO _antiphon_outbox (t, op, at, ${columns}) SELECT ${table.id}, ${op}, ?, ${columns} FROM ${DIFFERENCES} WHERE ${where} ORDER BY rowid`,
    ).run(at);
  };
  put(OUTBOX_DELETE, images('o'), `kind = ${MISSING_HERE} OR (kind = ${CHANGED} AND ${rekeyed})`);
  put(OUTBOX_UPDATE, `${images('n')}, ${images('o')}`, `kind = ${CHANGED} AND NOT ${rekeyed}`);
  put(OUTBOX_INSERT, images('n'), `kind = ${ONLY_HERE} OR (kind = ${CHANGED} AND ${rekeyed})`);
  // Neither what was captured before nor what comes after belongs to it.
  db.prepare('UPDATE _antiphon_outbox SET total = ? WHERE seq = (SELECT max(seq) FROM _antiphon_outbox)').run(
    LAST_OF_ITS_CONNECTION,
  );
  db.prepare(
    'UPDATE _antiphon_outbox SET total = 0 WHERE seq = (SELECT min(seq) FROM _antiphon_outbox WHERE seq > ?)',
  ).run(before);
}

/**
 * What others captured before they could be stopped lies on top of what nobody captured. Undone
 * alone, it would leave that: so it is captured too, in front of everything that waits.
 */
function captureBefore(connection: Connection, table: TrackedTable, difference: TableDifference): void {
  const { db } = connection;
  difference.findBeforeCaptured();
  const [last, at] = db
    .prepare('SELECT coalesce(max(seq), 0), min(at) FROM _antiphon_outbox', 'array')
    .get() as [number, number | null];
  capture(connection, table, at);
  const added = (db.prepare('SELECT max(seq) FROM _antiphon_outbox', 'value').get() as number | null) ?? 0;
  if (added <= last) return;
  const place = `CASE WHEN seq > ${last} THEN seq - ${last} ELSE seq + ${added - last} END`;
  db.exec(`UPDATE _antiphon_outbox SET seq = -(${place}); UPDATE _antiphon_outbox SET seq = -seq`);
}

/**
 * A key whose bytes changed is another row to whoever compares bytes: it goes as a delete and an
 * insert.
 */
function keyBytesDiffer(table: TrackedTable): string {
  const parts = table.key
    .filter((part) => keyBytesMayDiffer(table, part))
    .map(
      ({ column }) =>
        `n${column} IS NOT o${column} COLLATE BINARY OR typeof(n${column}) <> typeof(o${column})`,
    );
  return parts.length === 0 ? '0' : `(${balanced(parts, 'OR')})`;
}

function deletesRows({ table, missingHere, knownRows }: RecaptureReport): AntiphonError {
  return new AntiphonError(
    'DELETES_ROWS',
    `Recapturing table ${table} would delete ${missingHere.count} of its ${knownRows} rows everywhere: they are missing here. Nothing was changed. ` +
      'If nobody meant to delete them, put them back first, from the file of another replica ' +
      `(ATTACH 'FILE' AS other; INSERT INTO main.${quoteName(table)} SELECT * FROM other.${quoteName(table)};) or from a backup. ` +
      'If they are to be deleted, confirm it with `--delete-rows` (`deleteRows: true`).',
    { context: { table, rows: missingHere.count } },
  );
}

function unknownTable(name: string, tables: readonly TrackedTable[]): AntiphonError {
  return new AntiphonError(
    'UNKNOWN_TABLE',
    `This replica does not replicate table ${name.slice(0, 80)}. ${tablesToName(name, tables)}`,
    { context: { table: name } },
  );
}

function moved(name: string): AntiphonError {
  return new AntiphonError(
    'STORE_BUSY',
    `The database changed while table ${name} was compared. Nothing was written. Try again.`,
  );
}
