import {
  AntiphonError,
  advance,
  checkOptions,
  counterOf,
  decodeChanges,
  summarize,
  type BatchSummary,
  type Change,
  type DictionaryTable,
  type Log,
  type LogEntry,
  type LogReader,
  type OptionNames,
  type PartBatch,
  type Position,
  type Row,
  type StoreState,
  type TransactionId,
  type Value,
  type VectorClock,
} from '@antiphon/core';
import { decodeCursor, encodeCursorBase, type ChangeCursor } from './change-cursor.js';
import { Deadline } from '../wait/deadline.js';
import { Intake } from '../deliver/intake.js';
import { intakeRules } from '../deliver/intake-check.js';
import { replicatedNames } from './replicated-tables.js';
import type { Scope } from '../state/scope.js';
import { groupOf } from '../state/certification.js';

/** Integers are bigint, floats are numbers: what SQLite holds, exactly. */
export type RowObject = Readonly<Record<string, Value>>;

/** A change of one row, committed and applied on this replica. */
export interface CommittedChange {
  readonly id: TransactionId;
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  readonly key: RowObject;
  /** Of an update: only the columns that changed. Absent for an insert. */
  readonly before?: RowObject;
  /** The whole row. Absent for a delete. */
  readonly after?: RowObject;
  readonly position: Position;
  /** Hybrid time of the transaction, microseconds since 1970. */
  readonly time: number;
  /** Give it as `from` to go on after this change. */
  readonly cursor: string;
}

export interface ChangesOptions {
  /** All of them when absent. UNKNOWN_TABLE for one that the cluster does not replicate. */
  readonly tables?: readonly string[];
  /** 'now' when absent; 'beginning' is as far back as the log reaches. */
  readonly from?: string;
  readonly signal?: AbortSignal;
}

const CHANGES_OPTIONS: OptionNames<ChangesOptions> = { tables: true, from: true, signal: true };
/** Parts of transactions that began longer ago are not looked for. */
const MAX_LOOK_BACK = 20_000;
const READ = { maxEntries: 64, maxBytes: 1024 * 1024 };

/**
 * Committed changes in log order, each once, only as far as this replica has applied them. Nothing is read
 * ahead of the consumer by more than one group of entries: who is slow, waits in the log. Ends with
 * `return()`, the signal (ABORTED), or the replica. Throws UNKNOWN_TABLE at once.
 */
export async function* changesOf(
  scope: Scope,
  options: ChangesOptions,
): AsyncGenerator<CommittedChange, void, undefined> {
  checkOptions(options, CHANGES_OPTIONS, 'changes()');
  if (options.tables !== undefined && !Array.isArray(options.tables))
    throw new AntiphonError('BAD_OPTION', '`tables` of changes() is not valid; give a list of table names.');
  const known = scope.document.schema.tables;
  const tables = options.tables && new Set(replicatedNames(options.tables, known, `Replica ${scope.id}`));
  const { closing, clock, limits } = scope;
  const signal = options.signal === undefined ? closing : AbortSignal.any([options.signal, closing]);
  const opening = new Deadline(clock, limits.connectTimeoutMs, [signal], 'the log can be read');
  let start: ChangeCursor;
  let reader: LogReader;
  try {
    start = await startOf(scope, options.from ?? 'now', opening);
    reader = await openReader(scope, start, opening);
  } catch (error) {
    if (closing.aborted) return;
    throw error;
  } finally {
    opening.end();
  }
  const stream = new ChangeStream(scope, start);
  try {
    for (;;) {
      const entries = await nextApplied(scope, reader, signal);
      if (entries === undefined) return;
      for (const entry of entries) {
        const rejected = await rejectedIn(scope, entry);
        for (const change of stream.changesIn(entry, rejected)) {
          if (tables === undefined || tables.has(change.table)) yield change;
        }
      }
    }
  } finally {
    // Not awaited: it would hold up whoever breaks out of the loop, for a broker that may be gone.
    void reader.close();
  }
}

/** undefined: the replica is closing. */
async function nextApplied(
  scope: Scope,
  reader: LogReader,
  signal: AbortSignal,
): Promise<readonly LogEntry[] | undefined> {
  const { progress, closing } = scope;
  try {
    const entries = await reader.next({ ...READ, signal });
    const last = entries.at(-1)?.seq ?? 0;
    await progress.until(() => progress.seq >= last, {
      timeoutMs: Infinity,
      signal,
      what: `entry ${last} is applied here`,
    });
    return entries;
  } catch (error) {
    if (closing.aborted) return undefined;
    throw error;
  }
}

/** One that opens too late, for nobody, is closed again. */
async function openReader(scope: Scope, start: ChangeCursor, deadline: Deadline): Promise<LogReader> {
  const opening = scope.log.read({ generation: start.generation, fromSeq: start.seq });
  try {
    return await deadline.race(opening);
  } catch (error) {
    opening.then((late) => late.close()).catch(() => undefined);
    throw error;
  }
}

async function startOf(scope: Scope, from: string, deadline: Deadline): Promise<ChangeCursor> {
  const { store, progress, log } = scope;
  const { generation } = store.state().position;
  if (from === 'now') {
    const { vector, partial } = store.state();
    const seq = progress.seq + 1;
    return {
      generation,
      seq: await beginningOfParts(log, seq, { vector, partial }, deadline),
      vector,
      skip: 0,
    };
  }
  if (from !== 'beginning') return decodeCursor(from);
  const { firstSeq } = await deadline.race(log.identity(deadline.signal));
  return { generation, seq: Math.max(1, firstSeq), vector: {}, skip: 0 };
}

/** A big transaction whose parts are on their way will be committed after now: where its first part is. */
async function beginningOfParts(
  log: Log,
  fromSeq: number,
  { vector, partial }: Pick<StoreState, 'vector' | 'partial'>,
  deadline: Deadline,
): Promise<number> {
  const open = new Map(
    Object.entries(partial).filter(([origin, { counter }]) => counter > counterOf(vector, origin)),
  );
  let first = fromSeq;
  for (let seq = fromSeq - 1; open.size > 0 && seq > Math.max(0, fromSeq - MAX_LOOK_BACK); seq--) {
    const entry = await deadline.race(log.get(seq, deadline.signal));
    deadline.renew();
    if (entry === undefined || open.get(entry.origin) === undefined) continue;
    for (const batch of summariesOf(entry)) {
      if (
        batch.kind !== 'part' ||
        batch.offset !== 0 ||
        batch.firstCounter !== open.get(entry.origin)?.counter
      )
        continue;
      open.delete(entry.origin);
      first = seq;
    }
  }
  return first;
}

function summariesOf(entry: LogEntry): readonly BatchSummary[] {
  try {
    return summarize(entry.data);
  } catch {
    return []; // Malformed; the feed has put it aside.
  }
}

/** Counters that certification rejected; undefined when that is not kept any more. */
async function rejectedIn({ sync, store }: Scope, entry: LogEntry): Promise<readonly number[] | undefined> {
  if (sync?.certification === undefined) return [];
  const group = groupOf(entry.data);
  if (group === undefined) return [];
  const outcome = await store.outcomeOf({ origin: entry.origin, counter: group.firstCounter });
  return outcome?.rejected;
}

function verdictsForgotten(seq: number): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `changes as old as entry ${seq} of the log cannot be shown: what certification rejected of them is not kept any more. Begin later`,
  );
}

interface KeptParts {
  readonly seq: number;
  readonly first: PartBatch;
  readonly bodies: Uint8Array[];
  bytes: number;
}

/** Entries in, changes out. Decides about messages as the feed does, with a vector of its own. */
class ChangeStream {
  #vector: VectorClock;
  #skip: number;
  readonly #parts = new Map<string, KeptParts>();

  constructor(
    private readonly scope: Scope,
    private readonly start: ChangeCursor,
  ) {
    this.#vector = start.vector;
    this.#skip = start.skip;
  }

  /** `rejected`: counters of transactions that certification rejected; undefined: not known. */
  *changesIn(entry: LogEntry, rejected: readonly number[] | undefined): Generator<CommittedChange> {
    for (const step of this.#plan(entry).steps) {
      if (step.type !== 'transactions' && step.type !== 'part') continue;
      if (step.type === 'part') {
        yield* this.#part(entry, step.batch);
        continue;
      }
      const { origin, tables } = step.batch;
      if (rejected === undefined) throw verdictsForgotten(entry.seq);
      for (const transaction of step.batch.transactions.slice(step.skip)) {
        const id = { origin, counter: transaction.counter };
        if (!this.#applied(id)) return;
        const changes = rejected.includes(id.counter) ? [] : transaction.changes;
        yield* this.#transaction(id, transaction.time, tables, changes, entry.seq, entry.seq);
      }
    }
  }

  #plan(entry: LogEntry): ReturnType<typeof Intake.plan> {
    const { members } = this.scope;
    const partial = Object.fromEntries(
      [...this.#parts].map(([origin, { first, bytes }]) => [
        origin,
        { counter: first.firstCounter, time: first.time, bytes },
      ]),
    );
    return Intake.plan([entry], { vector: this.#vector, partial }, intakeRules(this.scope), {
      ownLog: { vector: {}, partial: {} },
      ownCounter: Infinity,
      ownPastUpTo: 0,
      ownLatestTime: 0,
      causesMayBeMissing: true,
      gaps: [],
      isMember: (origin) => members.has(origin),
      refused: () => undefined,
    });
  }

  /** What the database refused is in the log, and no change here. */
  #applied(id: TransactionId): boolean {
    return counterOf(this.scope.progress.vector, id.origin) >= id.counter;
  }

  *#part(entry: LogEntry, batch: PartBatch): Generator<CommittedChange> {
    const { origin, firstCounter, tables, time } = batch;
    const kept: KeptParts =
      batch.offset === 0
        ? { seq: entry.seq, first: batch, bodies: [], bytes: 0 }
        : (this.#parts.get(origin) ?? { seq: entry.seq, first: batch, bodies: [], bytes: 0 });
    kept.bodies.push(batch.body);
    kept.bytes += batch.body.length;
    this.#parts.set(origin, kept);
    const { changeFeedBytes } = this.scope.limits;
    if (kept.bytes > changeFeedBytes) {
      throw new AntiphonError(
        'MESSAGE_TOO_LARGE',
        `transaction ${origin}:${firstCounter} is larger than a change feed keeps (${changeFeedBytes} bytes); ` +
          'raise limits.changeFeedBytes, or read its rows with query() and go on from now',
      );
    }
    if (!batch.last) return;
    this.#parts.delete(origin);
    const id = { origin, counter: firstCounter };
    if (!this.#applied(id)) return;
    yield* this.#transaction(id, time, tables, decodeChanges(kept.bodies, tables), kept.seq, entry.seq);
  }

  *#transaction(
    id: TransactionId,
    time: number,
    tables: readonly DictionaryTable[],
    changes: Iterable<Change>,
    fromSeq: number,
    seq: number,
  ): Generator<CommittedChange> {
    const { generation } = this.start;
    // Other transactions' parts may have begun before this one: going on must read them from there.
    const resumeSeq = Math.min(fromSeq, ...[...this.#parts.values()].map((parts) => parts.seq));
    const base = encodeCursorBase({ generation, seq: resumeSeq, vector: this.#vector });
    const position = { generation, seq };
    let delivered = 0;
    for (const change of changes) {
      delivered++;
      if (delivered <= this.#skip) continue;
      const table = tables[change.table];
      if (table === undefined) continue;
      yield {
        id,
        table: table.name,
        ...rowsOf(change, table),
        position,
        time,
        cursor: `${base}.${delivered}`,
      };
    }
    this.#skip = 0;
    this.#vector = advance(this.#vector, id.origin, id.counter);
  }
}

function rowsOf(
  change: Change,
  table: DictionaryTable,
): Pick<CommittedChange, 'op' | 'key' | 'before' | 'after'> {
  const key = pick(table, table.key, change.row);
  const row = asObject(table, change.row);
  if (change.op === 'insert') return { op: 'insert', key, after: row };
  if (change.op === 'delete') return { op: 'delete', key, before: row };
  const before: [string, Value][] = change.changed.map((column, index) => [
    table.columns[column] ?? '',
    change.before[index] ?? null,
  ]);
  return { op: 'update', key, before: Object.fromEntries(before), after: row };
}

function asObject(table: DictionaryTable, row: Row): RowObject {
  return Object.fromEntries(table.columns.map((name, index) => [name, row[index] ?? null]));
}

function pick(table: DictionaryTable, columns: readonly number[], row: Row): RowObject {
  return Object.fromEntries(columns.map((column) => [table.columns[column] ?? '', row[column] ?? null]));
}
