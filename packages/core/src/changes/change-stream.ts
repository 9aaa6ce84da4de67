import { advance, counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { isReserved } from '../cluster/reserved.js';
import { decodeBatches } from '../codec/decode-batches.js';
import { decodeChanges } from '../codec/decode-changes.js';
import { admit, newOfPart, type AdmissionState } from '../decisions/admission.js';
import { EpochFold, inEpoch, isFenced } from '../decisions/epoch.js';
import type { Epoch } from '../model/epoch.js';
import type { EpochRecord } from '../model/epoch-record.js';
import { REQUESTS_TABLE } from '../model/requests-table.js';
import { missingCause, refuseBatch, refuseOrigin, type IntakeRules } from '../decisions/intake-rules.js';
import { AntiphonError, toAntiphonError } from '../errors/antiphon-error.js';
import type { ErrorCode } from '../errors/codes.js';
import type { Batch, Change, DictionaryTable, PartBatch } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { LogEntry } from '../ports/log.js';
import { encodeCursorBase, readFrom, type ChangeCursor, type ReadEntry } from './change-cursor.js';
import { namedChange, type LoggedChange } from './committed-change.js';
import type { SecondLook } from './second-look.js';

export interface ChangeStreamDeps {
  /**
   * By which replicas judge messages. Undefined while nobody knows them: only the order counts
   * then.
   */
  rules(): IntakeRules | undefined;
  isMember(origin: string): boolean;
  /** The epoch that holds in front of this entry, where the place does not tell. */
  epochAt(seq: number): Epoch | undefined;
  onEpoch?(epoch: Epoch): void;
  /** Bytes of big transactions, kept until their last part comes; MESSAGE_TOO_LARGE then. */
  readonly keptBytes: number;
  /** What to do about MESSAGE_TOO_LARGE, as a sentence. */
  readonly tooLargeHint: string;
  /** This transaction is to be shown; not when the database of a replica does not have it. */
  isCommitted(id: TransactionId): boolean;
  /** It was committed before the stream began, and is passed without a change. */
  isOld?(id: TransactionId): boolean;
  /** The rest of a transaction of this origin that is in parts will not come any more. */
  hasLeft?(origin: string): boolean;
  /**
   * What counts of entries that were read before: they are read again for what was applied later.
   * Absent: only for the parts of transactions whose last one had not come.
   */
  readonly again?: SecondLook['order'];
  /**
   * Whether it judges, as a replica does, what a transaction builds on; for one that is sure to
   * know everybody whom the replicas know.
   */
  readonly judgesCauses: boolean;
  /**
   * Code of the error when verdicts of certification are not kept any more. Defaults to BAD_OPTION.
   */
  readonly tooOld?: ErrorCode;
  /** No replica applies this entry, or a part of it. */
  onIgnored?(seq: number, error: AntiphonError): void;
}

/** So many entries at most are read again for a transaction whose parts are on their way. */
export const MAX_LOOK_BACK = 20_000;

interface KeptParts {
  readonly seq: number;
  readonly first: PartBatch;
  /** Absent where no table of the transaction is wanted. */
  readonly bodies: Uint8Array[] | undefined;
  bytes: number;
}

/**
 * Entries of the log in, changes out: each once, an origin's transactions in their order. It judges
 * messages as replicas do, with a vector of its own, and takes part in nothing.
 */
export class ChangeStream {
  #vector: VectorClock;
  #inside: VectorClock;
  #entry: ReadEntry | undefined;
  readonly #parts = new Map<string, KeptParts>();
  readonly #epochs: EpochFold<Epoch | undefined>;
  /** Entries before this one were read. */
  readonly #readSeq: number;

  constructor(
    private readonly start: ChangeCursor,
    private readonly deps: ChangeStreamDeps,
  ) {
    this.#vector = start.vector;
    this.#inside = start.inside;
    this.#entry = start.entry;
    const fromSeq = readFrom(start);
    const isKnown = start.epoch !== undefined && start.epoch.seq < fromSeq;
    this.#epochs = new EpochFold(isKnown ? start.epoch : deps.epochAt(fromSeq));
    this.#readSeq = Math.max(start.seq, start.entry?.seq ?? 0);
  }

  /**
   * `rejected`: counters of transactions of the entry that certification rejected; undefined when
   * nobody can tell any more. `isAsked`: by table; a transaction's `last` is the last change that
   * is wanted. Throws MESSAGE_TOO_LARGE, and `tooOld` where the verdict on what replicas applied is
   * gone.
   */
  *changesIn(
    entry: LogEntry,
    rejected: readonly number[] | undefined,
    isAsked: (table: string) => boolean,
  ): Generator<LoggedChange> {
    const { seq, storedAtMs } = entry;
    const isWanted = (table: string): boolean => table !== REQUESTS_TABLE && isAsked(table);
    if (seq > (this.#entry?.seq ?? 0)) this.#entry = { seq, storedAtMs };
    const record = this.#epochs.take(entry);
    if (record !== undefined) return this.#enterEpoch(record);
    for (const batch of this.#admitted(entry)) {
      const { origin, tables } = batch;
      if (batch.kind === 'part') {
        yield* this.#part(entry.seq, batch, isWanted);
        continue;
      }
      this.#parts.delete(origin);
      const transactions = batch.transactions.map(({ counter, time, changes }): Transaction => {
        const isRejected = rejected?.includes(counter) === true;
        return { id: { origin, counter }, time, tables, changes, isRejected, seq: entry.seq };
      });
      // A synchronous group counts as a whole, so a place is in front of it or behind it.
      const steps = batch.sync === undefined ? transactions.map((one) => [one]) : [transactions];
      for (const step of steps) {
        // What the database of a replica refused is in the log, and no change of it; nor is
        // anything behind it.
        if (!step.every(({ id }) => this.deps.isCommitted(id))) return;
        if (rejected === undefined && batch.sync !== undefined)
          throw verdictsForgotten(entry.seq, this.deps.tooOld);
        yield* this.#step(step, entry.seq, isWanted);
      }
    }
  }

  #enterEpoch(record: EpochRecord): void {
    this.#vector = inEpoch(this.#state, record).vector;
    this.#parts.clear();
    this.deps.again?.begins(record);
    if (this.#epochs.current !== undefined) this.deps.onEpoch?.(this.#epochs.current);
  }

  /** Where to go on once entry `seq` was read to its end. */
  placeAfter(seq: number): ChangeCursor {
    // Of what is read again because parts of others begin there, everything was delivered before.
    return this.#place(Math.max(seq + 1, this.start.seq), seq + 1, this.#inside);
  }

  /** `nextSeq`: what is read next; parts that are open begin before it. */
  #place(seq: number, nextSeq: number, inside: VectorClock): ChangeCursor {
    const { generation, isPartial } = this.start;
    const epoch = this.#epochs.current;
    const open = this.#openParts(nextSeq);
    const openSeq = Math.min(nextSeq, ...open.map(([, { seq: first }]) => first));
    return {
      ...{ generation, seq, vector: this.#vector, inside },
      ...(openSeq < seq && { openSeq }),
      ...(open.length > 0 && {
        open: Object.fromEntries(open.map(([origin, { first }]) => [origin, first.time])),
      }),
      ...(this.#entry && { entry: this.#entry }),
      ...(isPartial && { isPartial }),
      ...(epoch !== undefined && epoch.number > 0 && { epoch }),
    };
  }

  /**
   * A transaction that is never finished must not hold the place for ever. Should it be finished
   * all the same, it is missed by then: whoever compares vectors finds it out.
   */
  #openParts(nextSeq: number): readonly (readonly [string, KeptParts])[] {
    return [...this.#parts].filter(
      ([origin, { seq }]) => seq >= nextSeq - MAX_LOOK_BACK && this.deps.hasLeft?.(origin) !== true,
    );
  }

  /**
   * What every replica applies of it; of a message that came before, only what is new. Lazy: each
   * batch is judged by what those before it have changed.
   */
  *#admitted(entry: LogEntry): Generator<Batch> {
    if (isReserved(entry.origin)) return;
    const rules = this.deps.rules();
    for (const batch of this.#readable(entry, rules)) {
      if (rules !== undefined && this.#isFenced(batch)) continue;
      const wasRead = entry.seq < this.#readSeq;
      if (!wasRead && this.start.isPartial && !Object.hasOwn(this.#vector, batch.origin)) this.#meet(batch);
      const admission = admit(this.#state, batch);
      if (admission.type !== 'apply' && !wasRead) continue;
      const refusal = rules && refuseBatch(entry, batch, rules);
      if (refusal !== undefined) {
        if (admission.type === 'apply') this.deps.onIgnored?.(entry.seq, refusal);
        continue;
      }
      if (wasRead && !this.#countsAgain(batch)) continue;
      if (admission.type !== 'apply') continue;
      // It stands before what it builds on: replicas wait for that, and get this one again.
      if (this.deps.judgesCauses && !this.start.isPartial && missingCause(batch, this.#vector) !== undefined)
        continue;
      if (batch.kind === 'part') yield newOfPart(batch, admission.skip);
      else yield { ...batch, transactions: batch.transactions.slice(admission.skip) };
    }
  }

  /**
   * Of entries that were read before: what was not delivered then was dropped by every replica, for
   * it came before its predecessor, and its origin may have given the number to something else
   * since. Two are different: what was applied later, and parts whose last one is still to come.
   */
  #countsAgain(batch: Batch): boolean {
    if (this.deps.again !== undefined) return this.deps.again.counts(batch);
    const { open, openSeq } = this.start;
    // A place of a build that did not note them says only where they begin.
    const isOpen =
      open === undefined
        ? openSeq !== undefined
        : Object.hasOwn(open, batch.origin) && open[batch.origin] === batch.time;
    return batch.kind === 'part' && !batch.last && isOpen;
  }

  #isFenced(batch: Batch): boolean {
    const { current } = this.#epochs;
    return current !== undefined && isFenced(current, batch);
  }

  /** Of a transaction that began before everything that was read, nothing can be shown. */
  #meet(batch: Batch): void {
    const hasBegun = batch.kind === 'part' && batch.offset > 0;
    this.#vector = advance(this.#vector, batch.origin, batch.firstCounter - (hasBegun ? 0 : 1));
  }

  #readable(entry: LogEntry, rules: IntakeRules | undefined): readonly Batch[] {
    const isMember = this.deps.isMember(entry.origin);
    const refusal = rules === undefined ? unknownOrigin(entry, isMember) : refuseOrigin(entry, isMember);
    let batches: readonly Batch[];
    try {
      if (refusal !== undefined) throw refusal;
      batches = decodeBatches(entry.data);
    } catch (thrown) {
      this.deps.onIgnored?.(entry.seq, toAntiphonError(thrown, 'MALFORMED_MESSAGE'));
      return [];
    }
    const other = batches.find(({ origin }) => origin !== entry.origin)?.origin;
    if (other !== undefined) this.deps.onIgnored?.(entry.seq, publishedAs(entry, other));
    return batches.filter(({ origin }) => origin === entry.origin);
  }

  get #state(): AdmissionState {
    const partial = Object.fromEntries(
      Array.from(this.#parts, ([origin, { first, bytes }]) => [
        origin,
        { counter: first.firstCounter, time: first.time, bytes },
      ]),
    );
    return { vector: this.#vector, partial };
  }

  *#part(seq: number, batch: PartBatch, isWanted: (table: string) => boolean): Generator<LoggedChange> {
    const { origin, firstCounter, tables, time } = batch;
    const { bodies, seq: fromSeq } = this.#keep(seq, batch, isWanted);
    if (!batch.last) return;
    const id = { origin, counter: firstCounter };
    if (this.deps.isCommitted(id)) {
      const changes = bodies === undefined ? [] : decodeChanges(bodies, tables);
      // A place within it needs its parts again.
      yield* this.#step([{ id, time, tables, changes, isRejected: false, seq }], fromSeq, isWanted);
    }
    this.#parts.delete(origin);
  }

  #keep(seq: number, batch: PartBatch, isWanted: (table: string) => boolean): KeptParts {
    const { origin, firstCounter, offset, body, tables } = batch;
    const known = offset === 0 ? undefined : this.#parts.get(origin);
    // Every part names all tables of its transaction.
    const bodies = tables.some(({ name }) => isWanted(name)) ? [] : undefined;
    const kept: KeptParts = known ?? { seq, first: batch, bodies, bytes: 0 };
    kept.bodies?.push(body);
    kept.bytes += body.length;
    this.#parts.set(origin, kept);
    const { keptBytes, tooLargeHint } = this.deps;
    if (kept.bodies !== undefined && kept.bytes > keptBytes) {
      throw new AntiphonError(
        'MESSAGE_TOO_LARGE',
        `Transaction ${origin}:${firstCounter} is larger than a change stream keeps (${keptBytes} bytes). ` +
          tooLargeHint,
      );
    }
    return kept;
  }

  /** Transactions that are admitted together, and delivered one after the other. */
  *#step(
    transactions: readonly Transaction[],
    fromSeq: number,
    isWanted: (table: string) => boolean,
  ): Generator<LoggedChange> {
    const origin = transactions[0]?.id.origin ?? '';
    const skip = counterOf(this.#inside, origin);
    const { [origin]: _, ...others } = this.#inside;
    const base = encodeCursorBase({ ...this.#place(fromSeq, fromSeq, others), origin });
    // Counted from the beginning, whatever is shown of it: the same for everybody, at any time.
    let delivered = 0;
    for (const { id, time, tables, changes, isRejected, seq } of transactions) {
      const isShown = !isRejected && this.deps.isOld?.(id) !== true;
      let held: LoggedChange | undefined;
      for (const change of changes) {
        delivered++;
        const table = tables[change.table];
        if (delivered <= skip || !isShown || table === undefined || !isWanted(table.name)) continue;
        if (held !== undefined) yield held;
        const cursor = `${base}.${delivered}`;
        held = { id, table: table.name, ...namedChange(change, table), seq, time, cursor, last: false };
      }
      if (held !== undefined) yield { ...held, last: true };
    }
    this.#inside = others;
    for (const { id } of transactions) this.#vector = advance(this.#vector, id.origin, id.counter);
  }
}

interface Transaction {
  readonly id: TransactionId;
  readonly time: number;
  readonly tables: readonly DictionaryTable[];
  readonly changes: Iterable<Change>;
  /** By certification: nothing of it is shown. */
  readonly isRejected: boolean;
  readonly seq: number;
}

function verdictsForgotten(seq: number, code: ErrorCode = 'BAD_OPTION'): AntiphonError {
  return new AntiphonError(
    code,
    `Changes as old as entry ${seq} of the log cannot be shown: ` +
      'it is no longer known which of them certification rejected. Begin later.',
  );
}

function publishedAs({ seq, origin }: LogEntry, writer: string): AntiphonError {
  const message = `Entry ${seq} of the log is by ${writer.slice(0, 80)} and was published as ${origin.slice(0, 80)}.`;
  return new AntiphonError('UNKNOWN_ORIGIN', message);
}

function unknownOrigin({ seq, origin }: LogEntry, isMember: boolean): AntiphonError | undefined {
  if (isMember) return undefined;
  const message = `Entry ${seq} of the log is by ${origin.slice(0, 80)}, which is not a member of the cluster.`;
  return new AntiphonError('UNKNOWN_ORIGIN', message);
}
