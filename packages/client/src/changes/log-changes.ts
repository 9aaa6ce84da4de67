import {
  admit,
  advance,
  AntiphonError,
  decodeBatches,
  decodeChanges,
  newOfPart,
  decodeControl,
  encodeControl,
  toAntiphonError,
  type Batch,
  type Change,
  type DictionaryTable,
  type Log,
  type LogEntry,
  type Row,
  type TransactionId,
  type Value,
  type VectorClock,
} from '@antiphon/core';

export type RowObject = Readonly<Record<string, Value>>;

/**
 * One row changed by a committed transaction, as the log has it. The fields are those of the library's
 * `changes()`.
 */
export interface LoggedChange {
  readonly id: TransactionId;
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  readonly key: RowObject;
  /** Of an update: only the columns that changed. Absent for an insert. */
  readonly before?: RowObject;
  /** The whole row. Absent for a delete. */
  readonly after?: RowObject;
  readonly seq: number;
  /** Hybrid time of the transaction, microseconds since 1970. */
  readonly time: number;
  /** Parse it and give it as `from` to go on after this change. */
  readonly cursor: string;
}

/** A place between two changes. The same text as the cursors of the library's `changes()`. */
export interface LogPlace {
  readonly generation: string;
  readonly seq: number;
  /** Transactions that lie before it; unknown when the log was entered where nobody could tell. */
  readonly vector: VectorClock;
  readonly vectorIsComplete: boolean;
  /** Of the next transaction, so many changes lie before it. */
  readonly skip: number;
}

/** `option`: what a message calls it. @throws AntiphonError BAD_OPTION */
export function parseCursor(text: string, option = 'from'): LogPlace {
  try {
    const [base = '', skip = ''] = text.split('.');
    const input = decodeControl(Buffer.from(base, 'base64url')) as readonly [
      unknown,
      unknown,
      Record<string, unknown>,
    ];
    const [generation, seq, vector] = input;
    const counters = Object.entries(vector).map(([origin, counter]) => [origin, Number(counter)] as const);
    const numbers = [Number(seq), Number(skip), ...counters.map(([, counter]) => counter)];
    if (
      typeof generation !== 'string' ||
      skip === '' ||
      !numbers.every((n) => Number.isSafeInteger(n) && n >= 0)
    ) {
      throw new Error('not a cursor');
    }
    const complete = { vector: Object.fromEntries(counters), vectorIsComplete: true };
    return { generation, seq: Number(seq), skip: Number(skip), ...complete };
  } catch (cause) {
    const message = `${option} must be now, beginning, or the cursor of a change; "${text.slice(0, 80)}" is none.`;
    throw new AntiphonError('BAD_OPTION', message, { cause, context: { option } });
  }
}

/** Parts of big transactions that are kept until their last part comes; a client need not hold more. */
const MAX_KEPT_BYTES = 256 * 1024 * 1024;
const OWN_RECORDS = '_';
const READ = { maxEntries: 64, maxBytes: 1024 * 1024 };

interface KeptParts {
  readonly seq: number;
  readonly counter: number;
  readonly time: number;
  readonly bodies: Uint8Array[];
  bytes: number;
}

export interface LogChangesOptions {
  readonly log: Log;
  readonly start: LogPlace;
  readonly isMember: (origin: string) => Promise<boolean>;
  /** Counters of its transactions that certification rejected: they change nothing. */
  readonly rejectedIn: (seq: number, batches: readonly Batch[]) => Promise<readonly number[]>;
  /** Called for entries that hold nothing a replica would apply. */
  readonly onIgnored: (seq: number, error: AntiphonError) => void;
  readonly signal: AbortSignal;
}

/**
 * Every change of the log from a place on, each once, an origin's transactions in their order; then waits for
 * more. Ends with the signal. It reads the log itself and takes part in nothing: no replica notices it.
 */
export async function* logChanges(options: LogChangesOptions): AsyncGenerator<LoggedChange, void, undefined> {
  const { log, start, signal } = options;
  const reader = await log.read({ generation: start.generation, fromSeq: start.seq });
  const state = new ChangeState(start);
  try {
    while (!signal.aborted) {
      const entries = await reader.next({ ...READ, signal });
      for (const entry of entries) {
        const batches = await readEntry(entry, options);
        const rejected = await options.rejectedIn(entry.seq, batches);
        for (const batch of batches) yield* state.changesOf(batch, entry.seq, rejected);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    void reader.close();
  }
}

async function readEntry(
  entry: LogEntry,
  { isMember, onIgnored }: LogChangesOptions,
): Promise<readonly Batch[]> {
  // Antiphon's own records, such as who is in sync.
  if (entry.origin.startsWith(OWN_RECORDS)) return [];
  try {
    const batches = decodeBatches(entry.data);
    if (batches[0]?.origin !== entry.origin)
      throw new AntiphonError('MALFORMED_MESSAGE', 'its subject names another origin');
    if (await isMember(entry.origin)) return batches;
    throw new AntiphonError('UNKNOWN_ORIGIN', `${entry.origin} is no member of the cluster`);
  } catch (thrown) {
    const error = toAntiphonError(thrown);
    if (error.code === 'LOG_UNAVAILABLE') throw error;
    // The log's own first record carries no changes, and is nothing to speak of.
    onIgnored(entry.seq, error);
    return [];
  }
}

class ChangeState {
  #vector: VectorClock;
  #skip: number;
  readonly #parts = new Map<string, KeptParts>();

  constructor(private readonly start: LogPlace) {
    this.#vector = start.vector;
    this.#skip = start.skip;
  }

  *changesOf(batch: Batch, seq: number, rejected: readonly number[]): Generator<LoggedChange> {
    const { origin, firstCounter, tables } = batch;
    if (!this.start.vectorIsComplete && !Object.hasOwn(this.#vector, origin)) {
      this.#vector = advance(this.#vector, origin, firstCounter - 1);
    }
    const partial = Object.fromEntries(
      Array.from(this.#parts, ([name, { counter, time, bytes }]) => [name, { counter, time, bytes }]),
    );
    const admission = admit({ vector: this.#vector, partial }, batch);
    if (admission.type !== 'apply') return;
    if (batch.kind === 'part') {
      yield* this.#part(newOfPart(batch, admission.skip), seq);
      return;
    }
    this.#parts.delete(origin);
    for (const { counter, time, changes } of batch.transactions.slice(admission.skip)) {
      const kept = rejected.includes(counter) ? [] : changes;
      yield* this.#transaction({ origin, counter }, time, tables, kept, seq, seq);
    }
  }

  *#part(batch: Extract<Batch, { kind: 'part' }>, seq: number): Generator<LoggedChange> {
    const { origin, firstCounter, tables, time } = batch;
    const known = this.#parts.get(origin);
    const kept: KeptParts =
      known !== undefined && batch.offset > 0
        ? known
        : { seq, counter: firstCounter, time, bodies: [], bytes: 0 };
    kept.bodies.push(batch.body);
    kept.bytes += batch.body.length;
    this.#parts.set(origin, kept);
    if (kept.bytes > MAX_KEPT_BYTES) {
      const message = `Transaction ${origin}:${firstCounter} is larger than this client keeps in memory (${MAX_KEPT_BYTES} bytes).`;
      throw new AntiphonError('MESSAGE_TOO_LARGE', message);
    }
    if (!batch.last) return;
    this.#parts.delete(origin);
    yield* this.#transaction(
      { origin, counter: firstCounter },
      time,
      tables,
      decodeChanges(kept.bodies, tables),
      kept.seq,
      seq,
    );
  }

  *#transaction(
    id: TransactionId,
    time: number,
    tables: readonly DictionaryTable[],
    changes: Iterable<Change>,
    fromSeq: number,
    seq: number,
  ): Generator<LoggedChange> {
    // Going on must read again what other transactions' parts need.
    const resumeSeq = Math.min(fromSeq, ...Array.from(this.#parts.values(), (parts) => parts.seq));
    const base = Buffer.from(encodeControl([this.start.generation, resumeSeq, this.#vector])).toString(
      'base64url',
    );
    let delivered = 0;
    for (const change of changes) {
      delivered += 1;
      const table = tables[change.table];
      if (delivered <= this.#skip || table === undefined) continue;
      yield { id, table: table.name, ...rowsOf(change, table), seq, time, cursor: `${base}.${delivered}` };
    }
    this.#skip = 0;
    this.#vector = advance(this.#vector, id.origin, id.counter);
  }
}

function rowsOf(
  change: Change,
  table: DictionaryTable,
): Pick<LoggedChange, 'op' | 'key' | 'before' | 'after'> {
  const named = (columns: readonly number[], values: (index: number) => Value | undefined): RowObject =>
    Object.fromEntries(columns.map((column, index) => [table.columns[column] ?? '', values(index) ?? null]));
  const all = (row: Row): RowObject =>
    named(Array.from(row.keys()), (index): Value | undefined => row[index]);
  const key = named(table.key, (index) => change.row[table.key[index] ?? -1]);
  if (change.op === 'insert') return { op: 'insert', key, after: all(change.row) };
  if (change.op === 'delete') return { op: 'delete', key, before: all(change.row) };
  return {
    op: 'update',
    key,
    before: named(change.changed, (index) => change.before[index]),
    after: all(change.row),
  };
}
