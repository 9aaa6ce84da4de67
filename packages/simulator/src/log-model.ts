import {
  decodeBatches,
  decodeChanges,
  decodeEpochRecord,
  type Batch,
  type Change,
  type DictionaryTable,
  type LogEntry,
  type PartBatch,
  type Row,
  type TransactionBatch,
  type VectorClock,
} from '@antiphon/core';
import { CertificationModel } from './certification-model.js';

export interface ModelChange {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  readonly row: Row;
  /** So many microseconds before its transaction's time. */
  readonly earlierUs?: number;
}

export interface ModelTransaction {
  readonly origin: string;
  readonly counter: number;
  readonly time: number;
  /** What its origin had applied before, where versions are compared. */
  readonly context: VectorClock;
  /** None when certification rejected it. */
  readonly changes: readonly ModelChange[];
  /** Its entry of the log, once it is there. */
  readonly seq?: number;
  /** Of a synchronous one: the attempt that brought it into the log. */
  readonly attempt?: string;
  readonly rejected?: boolean;
}

/** A record of the log that counts, and what was spent before it. */
export interface ModelEpoch {
  readonly number: number;
  readonly primary: string;
  readonly seq: number;
  /** Numbers of its primary that no transaction of the log has. */
  readonly voidFrom: number;
  readonly voidTo: number;
}

/** Antiphon's own records in the log: nobody applies them. */
const RESERVED = '_';
const EPOCHS = '_epoch';

/**
 * What a log means, worked out without any code of a replica: of every origin the transactions 1,
 * 2, 3 … in the order in which the log has them, whatever else is lost, repeated or overtaken in
 * it.
 */
export class LogModel {
  readonly transactions: ModelTransaction[] = [];
  /** Of another epoch than that in which they came: nobody's. Without groups and parts. */
  readonly fenced: (ModelTransaction & { readonly primary: string })[] = [];
  readonly #byId = new Map<string, ModelTransaction>();
  readonly #counters = new Map<string, number>();
  readonly #parts = new Map<
    string,
    { readonly counter: number; readonly time: number; readonly bodies: Uint8Array[] }
  >();
  /** The counters after each entry, by sequence. */
  readonly #counterAt: ReadonlyMap<string, number>[] = [new Map()];
  readonly #certification: CertificationModel | undefined;

  /** In their order. */
  readonly epochs: ModelEpoch[] = [];
  #epoch = 0;
  /** Where there are epochs: whose transactions count. */
  #primary: string | undefined;

  constructor(options: { readonly certified?: boolean; readonly firstPrimary?: string } = {}) {
    this.#certification = options.certified === true ? new CertificationModel() : undefined;
    this.#primary = options.firstPrimary;
  }

  /** The last entry that it was given. */
  get seq(): number {
    return this.#counterAt.length - 1;
  }

  feed(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      if (entry.seq < this.#counterAt.length) continue;
      if (entry.origin === EPOCHS) this.#takeEpoch(entry);
      if (!entry.origin.startsWith(RESERVED))
        for (const batch of this.#read(entry)) this.#take(batch, entry.seq);
      this.#counterAt[entry.seq] = new Map(this.#counters);
    }
  }

  /** Whose transactions count at its end; undefined where there are no epochs. */
  get primary(): string | undefined {
    return this.#primary;
  }

  get epoch(): number {
    return this.#epoch;
  }

  isVoid(origin: string, counter: number): boolean {
    return this.epochs.some(
      ({ primary, voidFrom, voidTo }) => primary === origin && voidFrom <= counter && counter <= voidTo,
    );
  }

  #takeEpoch({ seq, data }: LogEntry): void {
    const record = decodeEpochRecord(data);
    if (this.#primary === undefined || record?.epoch !== this.#epoch + 1) return;
    const { epoch, primary, after } = record;
    this.#epoch = epoch;
    this.#primary = primary;
    const counter = this.#counters.get(primary) ?? 0;
    this.epochs.push({ number: epoch, primary, seq, voidFrom: counter + 1, voidTo: after });
    this.#counters.set(primary, Math.max(counter, after));
    this.#parts.clear();
  }

  get origins(): Iterable<string> {
    return this.#counters.keys();
  }

  /** How far an origin is for someone who has dealt with everything up to `seq`. */
  counterAt(seq: number, origin: string): number {
    return this.#counterAt[seq]?.get(origin) ?? 0;
  }

  transaction(origin: string, counter: number, time?: number): ModelTransaction | undefined {
    const found = this.#byId.get(`${origin}:${counter}`);
    return time === undefined || found?.time === time ? found : undefined;
  }

  /** What nobody can read, nobody applies, and nobody knows what it wrote. */
  #read({ seq, data }: LogEntry): readonly Batch[] {
    try {
      return decodeBatches(data);
    } catch {
      this.#certification?.pass(seq);
      return [];
    }
  }

  #take(batch: Batch, seq: number): void {
    if (this.#primary !== undefined && (batch.origin !== this.#primary || batch.epoch !== this.#epoch))
      return this.#fence(batch, this.#primary, seq);
    const next = (this.#counters.get(batch.origin) ?? 0) + 1;
    if (batch.kind === 'transactions' && batch.sync !== undefined) {
      // A second attempt at the same place counts for nobody, as a whole.
      if (batch.firstCounter === next) this.#takeGroup(batch, batch.sync, seq);
      return;
    }
    this.#certification?.pass(seq);
    if (batch.kind === 'part') return this.#takePart(batch, next, seq);
    for (const { counter, time, changes } of batch.transactions) {
      if (counter === (this.#counters.get(batch.origin) ?? 0) + 1)
        this.#commit({
          origin: batch.origin,
          counter,
          time,
          context: batch.context,
          changes: allNamed(changes, batch),
          seq,
        });
    }
  }

  #fence(batch: Batch, primary: string, seq: number): void {
    if (batch.kind === 'part' || batch.sync !== undefined) return;
    const { origin, context, transactions } = batch;
    for (const { counter, time, changes } of transactions)
      this.fenced.push({ origin, counter, time, context, changes: allNamed(changes, batch), seq, primary });
  }

  #takeGroup(batch: TransactionBatch, sync: NonNullable<TransactionBatch['sync']>, seq: number): void {
    const committed = this.#certification?.judge(seq, sync) ?? Infinity;
    for (const [index, { counter, time, changes }] of batch.transactions.entries()) {
      const rejected = index >= committed;
      const done = rejected ? [] : allNamed(changes, batch);
      this.#commit({
        origin: batch.origin,
        counter,
        time,
        context: batch.context,
        changes: done,
        seq,
        attempt: sync.token,
        rejected,
      });
    }
  }

  #takePart(batch: PartBatch, next: number, seq: number): void {
    const { origin, firstCounter: counter, time, context } = batch;
    if (counter !== next) return;
    const kept = this.#parts.get(origin);
    const bodies = kept?.counter === counter && kept.time === time ? kept.bodies : [];
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    if (batch.offset > bytes || (batch.offset + batch.body.length <= bytes && !batch.last)) return;
    bodies.push(batch.body.subarray(bytes - batch.offset));
    this.#parts.set(origin, { counter, time, bodies });
    if (!batch.last) return;
    const changes = [...decodeChanges(bodies, batch.tables)];
    this.#commit({ origin, counter, time, context, changes: allNamed(changes, batch), seq });
  }

  #commit(transaction: ModelTransaction): void {
    this.#counters.set(transaction.origin, transaction.counter);
    this.transactions.push(transaction);
    this.#byId.set(`${transaction.origin}:${transaction.counter}`, transaction);
  }
}

function allNamed(
  changes: readonly Change[],
  { tables }: { readonly tables: readonly DictionaryTable[] },
): readonly ModelChange[] {
  return changes.map((change) => named(change, tables));
}

export function named(change: Change, tables: readonly DictionaryTable[]): ModelChange {
  const { op, table, row, earlierUs = 0 } = change;
  return { op, table: tables[table]?.name ?? '', row, earlierUs };
}
