import {
  type Admission,
  type AdmissionState,
  admit,
  admitted,
  AntiphonError,
  type ApplyStep,
  type Batch,
  type BatchSummary,
  counterOf,
  decodeBatches,
  type Epoch,
  EpochFold,
  type EpochRecord,
  formatTransactionId,
  type Gap,
  type IntakeRules,
  inEpoch,
  isFenced,
  isReserved,
  isTooFarAhead,
  lastCounterOf,
  latestTime,
  type LogEntry,
  type PassedEpoch,
  missingCause,
  newOfPart,
  refuseBatch,
  refuseOrigin,
  summarize,
  toAntiphonError,
  type TransactionBatch,
  type TransactionId,
  unknownToPrimary,
  type Verdict,
  withGap,
  withoutArrived,
} from '@antiphon/core';
import { groupOf, type Certification } from '../state/certification.js';
import type { DeliveryResult } from '../state/protocols.js';
import { foreignWriter } from './second-life.js';

export interface IntakeOptions {
  /** This replica: its own messages are skipped. undefined: nobody's are (a change feed). */
  readonly self?: string;
  /**
   * How far the log had our own messages in order before these entries: what every receiver has
   * admitted of them.
   */
  readonly ownLog: AdmissionState;
  /**
   * Own counters that this database once gave; a higher one in the log was not written by this
   * process.
   */
  readonly ownCounter: number;
  /**
   * Own transactions up to here are applied like anybody's: the database was restored (recovery of
   * own transactions).
   */
  readonly recoverOwnUpTo: number;
  /**
   * The latest hybrid time of this replica, microseconds: none of its own messages has a later one.
   */
  readonly ownLatestTime: number;
  /**
   * Something was quarantined here before, so what builds on it may come without it; it waits like
   * after a hole.
   */
  readonly causesMayBeMissing: boolean;
  /** What is known to be missing. */
  readonly gaps: readonly Gap[];
  /**
   * Set in a synchronous cluster: own messages may come out of the log first, and groups are
   * certified where several write.
   */
  readonly synchronous?: { readonly certification: Certification | undefined };
  isMember(origin: string): boolean;
  /** Who may write, before these entries. */
  readonly epoch: Epoch;
  /** Of this process: an epoch with it is its own. */
  readonly instance: string;
  /**
   * The database takes writes, so it may hold some that the log has not: before the epoch of
   * another primary they have to leave it.
   */
  readonly takesWrites: boolean;
  /** The primary has said before that it lacks something that is here. */
  readonly isDoubted?: boolean;
  /**
   * Known to be acceptable to no replica, for what only the store or the registry could tell;
   * quarantine it.
   */
  refused(seq: number, batch: number): AntiphonError | undefined;
}

/** Something worth telling, in log order. */
export type IntakeNote =
  | { readonly type: 'duplicate'; readonly origin: string }
  | {
      readonly type: 'hole';
      readonly origin: string;
      readonly expected: number;
      readonly found: number;
      readonly reason: string;
    }
  | { readonly type: 'admitted'; readonly origin: string }
  /** Its origin was not the primary when it came into the log: it counts for nobody. */
  | {
      readonly type: 'fenced';
      readonly origin: string;
      readonly firstCounter: number;
      readonly lastCounter: number;
    }
  /** One of our own, from `counter` on, that no replica accepts: it does not count as published. */
  | { readonly type: 'own-refused'; readonly counter: number; readonly error: AntiphonError }
  | { readonly type: 'ahead'; readonly origin: string; readonly time: number }
  /** This replica has it, and the primary has not: they differ. */
  | { readonly type: 'primary-lacks'; readonly primary: string; readonly has: TransactionId }
  /** The primary has all that this replica has, as far as it has said so. Only after the other. */
  | { readonly type: 'primary-has' };

export interface IntakePlan {
  readonly steps: readonly ApplyStep[];
  /** For each step: which batch of its entry it is; -1: it is no batch. */
  readonly batches: readonly number[];
  /** The last entry dealt with; 0 when there is none. */
  readonly seq: number;
  readonly notes: readonly IntakeNote[];
  /** Of certified groups among the steps, by entry. */
  readonly verdicts: ReadonlyMap<number, Verdict>;
  /** As in the options, after these entries. */
  readonly ownLog: AdmissionState;
  /** The same behind one of them. */
  ownLogAt(seq: number): AdmissionState;
  /**
   * Nothing from the entry after `seq` on may be dealt with. `newer-schema`: it may, once the
   * schema is known.
   */
  readonly halt?: NonNullable<DeliveryResult['halt']>;
  /**
   * The entry after `seq` begins an epoch that counts on a transaction which is missing here. It
   * may be dealt with once that has come.
   */
  readonly waits?: { readonly seq: number; readonly gap: Gap };
  /** The epoch that deposes this replica, where that is what it halts for. */
  readonly successor?: PassedEpoch;
}

/** Transactions that are not here. */
type Missed = Pick<BatchSummary, 'origin' | 'firstCounter' | 'lastCounter'>;

/**
 * Decides what becomes of entries of the log, one after the other, without touching anything.
 * Admission goes by a vector that is advanced step by step, as the store will advance its own.
 *
 * A hole is dropped, and the position moves on: usually the missing message was lost on its way
 * into the log, and its origin, which has no acknowledgement for it, sends it and everything after
 * it again (go-back-N). Until it has come, a gap says that what the position has passed is not all
 * here. The same goes for what no replica accepts, if its origin is a member: the origin may hold
 * it all the same.
 */
export class Intake {
  readonly #steps: ApplyStep[] = [];
  readonly #batches: number[] = [];
  readonly #notes: IntakeNote[] = [];
  readonly #verdicts = new Map<number, Verdict>();
  #gaps: readonly Gap[];
  #state: AdmissionState;
  #ownLog: AdmissionState;
  readonly #epochs: EpochFold;
  /** Behind which entry it became what; only entries that changed it. */
  readonly #ownLogs: (readonly [seq: number, state: AdmissionState])[] = [];
  #seq = 0;
  #halt: IntakePlan['halt'];
  #waits: IntakePlan['waits'];
  #successor: PassedEpoch | undefined;

  private constructor(
    private readonly rules: IntakeRules,
    private readonly options: IntakeOptions,
    state: AdmissionState,
  ) {
    this.#state = state;
    this.#gaps = options.gaps;
    this.#ownLog = options.ownLog;
    this.#epochs = new EpochFold(options.epoch);
  }

  static plan(
    entries: readonly LogEntry[],
    state: AdmissionState,
    rules: IntakeRules,
    options: IntakeOptions,
  ): IntakePlan {
    const intake = new Intake(rules, options, state);
    for (const entry of entries) {
      const before = intake.#steps.length;
      const ownLog = intake.#ownLog;
      intake.#take(entry);
      if (intake.#halt !== undefined || intake.#waits !== undefined) {
        // An entry is dealt with as a whole: its position is one number.
        intake.#steps.length = before;
        intake.#batches.length = before;
        break;
      }
      intake.#seq = entry.seq;
      if (intake.#ownLog !== ownLog) intake.#ownLogs.push([entry.seq, intake.#ownLog]);
      options.synchronous?.certification?.dealtWith(entry.seq);
      // Behind it, the roles are other ones.
      if (intake.#epochs.current !== options.epoch) break;
    }
    const [halt, waits, successor] = [intake.#halt, intake.#waits, intake.#successor];
    return {
      steps: intake.#steps,
      batches: intake.#batches,
      seq: intake.#seq,
      notes: intake.#notes,
      verdicts: intake.#verdicts,
      ownLog: intake.#ownLogs.at(-1)?.[1] ?? options.ownLog,
      ownLogAt: (seq) => intake.#ownLogs.findLast(([at]) => at <= seq)?.[1] ?? options.ownLog,
      ...(halt && { halt }),
      ...(waits && { waits }),
      ...(successor && { successor }),
    };
  }

  #take(entry: LogEntry): void {
    const record = this.#epochs.take(entry);
    if (record !== undefined) return this.#enterEpoch(record, entry.seq);
    if (isReserved(entry.origin)) return;
    const certification = this.options.synchronous?.certification;
    if (certification !== undefined && groupOf(entry.data) === undefined) certification.pass(entry.seq);
    const refusal = refuseOrigin(entry, this.options.isMember(entry.origin));
    if (refusal !== undefined) return this.#refuseOrigin(entry, refusal);
    try {
      const wanted = entry.origin === this.options.self ? this.#wantedOwn(entry) : undefined;
      if (wanted?.includes(true) === false) return;
      decodeBatches(entry.data).forEach((batch, index) => {
        if (this.#halt === undefined && wanted?.[index] !== false) this.#takeBatch(entry, batch, index);
      });
    } catch (thrown) {
      const error = toAntiphonError(thrown, 'MALFORMED_MESSAGE');
      this.#quarantine(entry, -1, error);
      // Which transactions it holds can't be told: the next one of its origin is missing until the
      // origin says that there is none.
      const { origin } = entry;
      if (origin === this.options.self) return;
      const counter = counterOf(this.#state.vector, origin) + 1;
      const next = { origin, firstCounter: counter, lastCounter: counter };
      this.#missing(entry, next, { type: 'apply', skip: 0 }, error.message);
    }
  }

  #enterEpoch(record: EpochRecord, seq: number): void {
    const { self, instance, takesWrites } = this.options;
    const { primary, after } = record;
    if (takesWrites && primary !== self) {
      this.#halt = { reason: 'deposed', error: deposed(record, seq) };
      this.#successor = { ...this.#epochs.current, began: record };
      return;
    }
    if (this.#waitsFor(record, seq)) return;
    this.#batches.push(-1);
    const elected = primary === self && record.instance === instance;
    this.#steps.push({ type: 'epoch', record, seq, elected });
    this.#state = inEpoch(this.#state, record);
    const isOurs = primary === self;
    this.#ownLog = isOurs ? inEpoch(this.#ownLog, record) : { ...this.#ownLog, partial: {} };
    this.#gaps = withoutArrived(this.#gaps, primary, after);
  }

  /** An epoch spends numbers, so what is missing of them could not come any more behind it. */
  #waitsFor({ primary, epoch, admitted = 0 }: EpochRecord, seq: number): boolean {
    const expected = counterOf(this.#state.vector, primary) + 1;
    if (primary === this.options.self || admitted < expected) return false;
    const reason = `it was not applied here when the log held it, and epoch ${epoch} counts on it`;
    this.#waits = { seq, gap: { origin: primary, expected, found: admitted, seq, reason } };
    return true;
  }

  #isFenced(batch: Batch | BatchSummary): boolean {
    if (!isFenced(this.#epochs.current, batch)) return false;
    const { origin, firstCounter } = batch;
    this.#notes.push({ type: 'fenced', origin, firstCounter, lastCounter: lastCounterOf(batch) });
    return true;
  }

  /**
   * A power loss may have taken from the database what was on its way into the log. A group of a
   * synchronous cluster is in no database before it is in the log.
   */
  #takeFencedOwn(entry: LogEntry, summary: BatchSummary, index: number): void {
    const { synchronous, takesWrites } = this.options;
    const { origin, firstCounter, lastCounter, sync } = summary;
    // What is under way in a synchronous cluster has numbers of its own behind this one.
    const isBesideGroups = takesWrites && synchronous !== undefined;
    const isGiven = lastCounter <= counterOf(this.#state.vector, origin);
    // Its number may have been given once more: whether the database has this one, its time tells.
    const isLost =
      sync === undefined && !isBesideGroups && lastCounter > counterOf(this.#ownLog.vector, origin);
    if (isLost && takesWrites && !isGiven) {
      this.#halt = { reason: 'spent', error: spentNumber(entry, lastCounter) };
      return;
    }
    this.#notes.push({ type: 'fenced', origin, firstCounter, lastCounter });
    const batch = isLost ? decodeBatches(entry.data)[index] : undefined;
    if (batch?.kind !== 'transactions') return;
    this.#batches.push(-1);
    this.#steps.push({ type: 'fenced', batch, seq: entry.seq });
  }

  /**
   * Nobody's, as far as this replica knows. Where members acknowledge what they have, a group may
   * still be one that others accepted: it is missing here until they say that they have not got it
   * either.
   */
  #refuseOrigin(entry: LogEntry, refusal: AntiphonError): void {
    this.#quarantine(entry, -1, refusal);
    if (this.options.synchronous === undefined || this.rules.primary !== undefined) return;
    const group = groupOf(entry.data);
    if (group === undefined || group.origin !== entry.origin) return;
    this.#missing(entry, missedOf(group), admit(this.#state, group), refusal.message);
  }

  /**
   * Which batches of an own message need to be looked at; none in the usual case, without decoding
   * it. What is out of order in the log, or what every receiver refuses, counts for nobody, this
   * replica included, whatever its database holds.
   */
  #wantedOwn(entry: LogEntry): readonly boolean[] {
    const refusals = this.#ownRefusals(entry);
    return summarize(entry.data).map((batch, index) => {
      if (batch.origin !== entry.origin) return true;
      if (isFenced(this.#epochs.current, batch)) {
        this.#takeFencedOwn(entry, batch, index);
        return false;
      }
      const { origin, firstCounter, lastCounter } = batch;
      if (admit(this.#ownLog, batch).type !== 'apply') {
        this.#notes.push({ type: 'duplicate', origin });
        return false;
      }
      const error = refusals?.[index];
      if (error !== undefined) {
        this.#notes.push({ type: 'own-refused', counter: firstCounter, error });
        // A group that is not committed here either is kept like anybody's; what is committed here
        // stays in the outbox.
        return batch.sync !== undefined;
      }
      this.#ownLog = admitted(this.#ownLog, batch);
      return lastCounter > counterOf(this.#state.vector, origin);
    });
  }

  /**
   * What the receivers' rules say of an own message. Only the clock can have gone wrong since it
   * was written.
   */
  #ownRefusals(entry: LogEntry): readonly (AntiphonError | undefined)[] | undefined {
    const aheadMs = this.options.ownLatestTime / 1000 - entry.storedAtMs;
    if (!isTooFarAhead(aheadMs, entry, this.rules)) return undefined;
    return decodeBatches(entry.data).map((batch) => refuseBatch(entry, batch, this.rules));
  }

  #takeBatch(entry: LogEntry, batch: Batch, index: number): void {
    const refusedBefore = this.options.refused(entry.seq, index);
    if (batch.origin === entry.origin && entry.origin !== this.options.self) {
      const { number } = this.#epochs.current;
      if (this.rules.primary !== undefined && batch.epoch > number && refusedBefore === undefined) {
        this.#halt = { reason: 'later-epoch', error: laterEpoch(entry, batch.epoch, number) };
        return;
      }
      if (this.#isFenced(batch)) return;
    }
    const refused = refusedBefore ?? refuseBatch(entry, batch, this.rules);
    const admission = admit(this.#state, batch);
    if (admission.type === 'duplicate')
      return void this.#notes.push({ type: 'duplicate', origin: batch.origin });
    if (refused !== undefined) {
      this.#quarantine(entry, index, refused);
      if (batch.origin === entry.origin) this.#missing(entry, missedOf(batch), admission, refused.message);
      return;
    }
    if (admission.type === 'hole') {
      return this.#missing(
        entry,
        missedOf(batch),
        admission,
        'it has not come yet; its origin is asked to publish it again',
      );
    }
    if (this.#mustHalt(entry, batch)) return;
    const missing = missingCause(batch, this.#state.vector);
    if (missing !== undefined && this.rules.primary !== undefined)
      return this.#missedBefore(entry, batch, admission, missing);
    if (missing !== undefined) {
      // Cannot be by construction (what a context claims is in the log before), unless that was
      // quarantined here.
      const error = causeMissing(batch, missing);
      if (this.options.causesMayBeMissing || this.#gaps.length > 0 || this.#isQuarantining)
        return this.#missing(entry, missedOf(batch), admission, error.message);
      this.#halt = { reason: 'cause-missing', error };
      return;
    }
    this.#compare(batch);
    this.#admit(entry, batch, admission.skip, index);
    const time = latestTime(batch);
    if (time / 1000 - entry.storedAtMs > this.rules.clockAlarmMs)
      this.#notes.push({ type: 'ahead', origin: batch.origin, time });
  }

  #compare(batch: Batch): void {
    const { origin: primary } = batch;
    if (this.rules.primary === undefined || primary === this.options.self) return;
    const has = unknownToPrimary(batch, this.#state.vector, this.options.self);
    if (has !== undefined) this.#notes.push({ type: 'primary-lacks', primary, has });
    else if (this.options.isDoubted === true) this.#notes.push({ type: 'primary-has' });
  }

  /** Of a primary before this one: the log held it, and it was not applied here. */
  #missedBefore(entry: LogEntry, batch: Batch, admission: Admission, cause: TransactionId): void {
    const { origin, counter } = cause;
    const expected = counterOf(this.#state.vector, origin) + 1;
    const builder = `${batch.origin}:${batch.firstCounter}`;
    this.#missing(
      entry,
      { origin, firstCounter: counter, lastCounter: counter },
      { type: 'hole', expected },
      `it was not applied here when the log held it, and ${builder} builds on it`,
    );
    const reason = `it builds on ${formatTransactionId({ origin, counter: expected })}, which is not here yet`;
    this.#missing(entry, missedOf(batch), admission, reason);
  }

  #mustHalt(entry: LogEntry, batch: Batch): boolean {
    const { self, ownCounter, recoverOwnUpTo } = this.options;
    const last = lastCounterOf(batch);
    // A synchronous group of ours is in the log before it is in the database.
    const foreign = this.options.synchronous === undefined && batch.origin === self;
    if (foreign && last > Math.max(ownCounter, recoverOwnUpTo)) {
      this.#halt = { reason: 'foreign-writer', error: foreignWriter(entry.seq, batch.origin, last) };
    } else if (batch.schemaVersion > this.rules.schema.version) {
      this.#halt = { reason: 'newer-schema', error: newerSchema(entry, batch, this.rules.schema.version) };
    }
    return this.#halt !== undefined;
  }

  #admit(entry: LogEntry, batch: Batch, skip: number, index: number): void {
    const { origin } = batch;
    const { seq } = entry;
    this.#batches.push(index);
    if (batch.kind === 'part') this.#steps.push({ type: 'part', batch: newOfPart(batch, skip), seq });
    else this.#steps.push({ type: 'transactions', batch, skip, seq, ...this.#certify(batch, seq) });
    this.#state = admitted(this.#state, batch);
    this.#gaps = withoutArrived(this.#gaps, origin, counterOf(this.#state.vector, origin));
    this.#notes.push({ type: 'admitted', origin });
  }

  #certify(batch: TransactionBatch, seq: number): { readonly rejected?: readonly number[] } {
    const { sync } = batch;
    const certification = this.options.synchronous?.certification;
    if (sync === undefined || certification === undefined) return {};
    const verdict = certification.judge(seq, { ...batch, sync });
    this.#verdicts.set(seq, verdict);
    return { rejected: verdict.rejected.map(({ counter }) => counter) };
  }

  /** Of these entries, in the same plan as what builds on it. */
  get #isQuarantining(): boolean {
    return this.#steps.some(({ type }) => type === 'quarantine');
  }

  #quarantine(entry: LogEntry, index: number, error: AntiphonError): void {
    const { seq, storedAtMs, origin, data } = entry;
    this.#batches.push(index);
    this.#steps.push({ type: 'quarantine', seq, storedAtMs, origin: origin.slice(0, 80), data, error });
  }

  /**
   * The position passes the entry, and something of its origin is not here. A repetition, or what
   * comes after it, is no news.
   */
  #missing(
    entry: LogEntry,
    { origin, firstCounter, lastCounter: found }: Missed,
    admission: Admission,
    reason: string,
  ): void {
    if (admission.type === 'duplicate') return;
    const expected = admission.type === 'hole' ? admission.expected : firstCounter;
    this.#notes.push({ type: 'hole', origin, expected, found, reason });
    if (origin === this.options.self) return;
    const gap: Gap = { origin, expected, found, seq: entry.seq, reason };
    const gaps = withGap(this.#gaps, gap, this.#state.vector);
    if (gaps === this.#gaps) return;
    this.#gaps = gaps;
    const before = this.#steps.findIndex((step) => step.type === 'gap' && step.gap.origin === origin);
    const step = this.#steps[before];
    if (step?.type === 'gap' && step.gap.expected === expected) {
      this.#steps[before] = { ...step, gap: { ...step.gap, found } };
      return;
    }
    this.#batches.push(-1);
    this.#steps.push({ type: 'gap', gap, seq: entry.seq });
  }
}

function missedOf(batch: Batch | BatchSummary): Missed {
  const { origin, firstCounter } = batch;
  return { origin, firstCounter, lastCounter: lastCounterOf(batch) };
}

function deposed({ epoch, primary }: EpochRecord, seq: number): AntiphonError {
  return new AntiphonError(
    'NOT_WRITABLE',
    `${primary} is the primary from entry ${seq} of the log on, epoch ${epoch}. Write to it.`,
    { context: { primary, epoch, seq } },
  );
}

/** A record that this replica has passed without reading it; or a message that somebody forged. */
export function laterEpoch({ origin, seq }: LogEntry, epoch: number, known: number): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `Entry ${seq} of the log, from ${origin}, is of epoch ${epoch}, and this replica has read the log up to it and knows no later epoch than ${known}: ` +
      'it was shown another log than the others. Start it with an empty file; what only it has is lost then (docs/lost-log.md).',
    { context: { origin: origin.slice(0, 80), seq, epoch } },
  );
}

function spentNumber({ origin, seq }: LogEntry, counter: number): AntiphonError {
  return new AntiphonError(
    'NOT_WRITABLE',
    `Entry ${seq} of the log is ${origin}:${counter} of an earlier process. Numbers go on behind it in the next epoch.`,
    { context: { spent: counter, seq } },
  );
}

function newerSchema(entry: LogEntry, batch: Batch, known: number): AntiphonError {
  return new AntiphonError(
    'UNSUPPORTED_FORMAT',
    `Entry ${entry.seq} of the log, from ${batch.origin}, has schema version ${batch.schemaVersion}, and this replica has ${known}. ` +
      'It waits there. Upgrade this replica.',
    { context: { origin: batch.origin, seq: entry.seq } },
  );
}

function causeMissing(
  batch: Batch,
  missing: { readonly origin: string; readonly counter: number },
): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `${batch.origin}:${batch.firstCounter} builds on ${missing.origin}:${missing.counter}, which has not been in the log.`,
    { context: { origin: batch.origin, missing: `${missing.origin}:${missing.counter}` } },
  );
}
