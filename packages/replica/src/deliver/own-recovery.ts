import {
  type AdmissionState,
  admit,
  admitted,
  type Batch,
  counterOf,
  decodeBatches,
  type IntakeRules,
  isWhole,
  latestTime,
  type LogEntry,
  newOfPart,
  refuseBatch,
  summarize,
  type Epoch,
  epochAt,
  EpochFold,
  type EpochRecord,
  inEpoch,
  isFenced,
  newestEpoch,
} from '@antiphon/core';
import { ownLogState } from '../state/own-log.js';
import { intakeRules } from './rules.js';
import { Deadline, retrying } from '../wait/deadline.js';
import type { Scope } from '../state/scope.js';
import { SecondLife, assertOurs, foreignWriter } from './second-life.js';

const SCAN = { maxEntries: 1024, maxBytes: 4 * 1024 * 1024 };
/**
 * How many entries before the position are looked at first for the beginning of an own transaction
 * in parts.
 */
const FIRST_LOOK_BACK = 256;

type OwnRecoveryScope = Pick<Scope, 'authority' | 'clock' | 'document' | 'id' | 'limits' | 'log' | 'store'>;

/** What the log has of our own transactions. */
export interface FoundOwn {
  /** Up to the position. */
  readonly ownLog: AdmissionState;
  /** Beyond what the database has; undefined when there is nothing. */
  readonly past: OwnRecovery | undefined;
  /** What comes after all that and only began. */
  readonly unfinished?: UnfinishedOwn;
}

/**
 * A transaction of which the log has the first parts, and this database nothing: the rest may be on
 * its way, or never come.
 */
export interface UnfinishedOwn extends OwnRecovery {
  /** The newest own entry. */
  readonly newest: LogEntry;
}

/** Own transactions that the log has and the database has not. */
export interface OwnRecovery {
  readonly counter: number;
  /** Hybrid time, so that the clock goes on after it. */
  readonly time: number;
}

/**
 * Recovery of own transactions (design, section 5): a database that comes back older than what it
 * published must take that in before it writes, or it would use counters twice. Found by reading on
 * from the position, not by believing the newest message: only what is in the log in order counts.
 * A message whose predecessor was lost was dropped by all receivers, and that we happen to have its
 * predecessor in our database does not change that.
 *
 * Throws DUPLICATE_REPLICA when the log gave a counter to another transaction than this database
 * did: nothing is changed then.
 */
export async function findOwnPast(
  scope: OwnRecoveryScope,
  deadline: Deadline,
  note: (past: readonly Batch[]) => Promise<void> = (past) => noted(scope.store, past),
): Promise<FoundOwn> {
  const { log, id, store, clock, document, limits } = scope;
  const newest = await retrying(clock, deadline, () => log.lastOf(id, deadline.signal));
  const state = store.state();
  const { position } = state;
  const stored = ownLogState(id, state);
  // Everything up to the position has been dealt with, our own included.
  if (newest === undefined || newest.seq <= position.seq) return { ownLog: stored, past: undefined };
  const { generation } = document;
  const rules = intakeRules(scope);
  const { fromSeq, counted } = await beginningOfParts(scope, stored, deadline);
  let ownLog: AdmissionState = { vector: { [id]: counted }, partial: {} };
  const scan = new OwnScan(id, ownLog, epochAt(state.epochs, fromSeq), rules);
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
  const outbox = new SecondLife(store, limits.pageBytes);
  try {
    for (let seq = fromSeq - 1; seq < newest.seq;) {
      const past: Batch[] = [];
      for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
        const taken = scan.take(entry);
        if (entry.origin === id) await assertOurs(entry, taken, outbox);
        past.push(...taken);
        if (entry.seq <= position.seq) ownLog = scan.state;
        seq = entry.seq;
      }
      if (past.length > 0) await retrying(clock, deadline, () => note(past));
      deadline.renew();
    }
  } finally {
    void reader.close();
  }
  const known = counterOf(state.vector, id);
  const past = scan.counter > known ? { counter: scan.counter, time: scan.time } : undefined;
  const unfinished = unfinishedIn(scan, state.lastCounter);
  return { ownLog, past, ...(unfinished && { unfinished: { ...unfinished, newest } }) };
}

/** `given`: this database gave counters up to here, and will publish what it gave them to. */
function unfinishedIn({ begun }: OwnScan, given: number): OwnRecovery | undefined {
  if (begun === undefined || begun.counter <= given) return undefined;
  return { counter: begun.counter, time: begun.time };
}

async function noted(store: Scope['store'], past: readonly Batch[]): Promise<void> {
  await store.notePast?.(past);
}

/**
 * Whether entries that were just read, after those that `ownLog` is about, are what this database
 * holds under their numbers. Cheap where this process sent them, or where the database is not ahead
 * of the log. Throws DUPLICATE_REPLICA.
 */
export async function assertNoSecondLife(
  scope: Scope,
  entries: readonly LogEntry[],
  ownLog: AdmissionState,
): Promise<void> {
  const { id, store, sent, limits } = scope;
  const state = store.state();
  const { vector, position } = state;
  if (counterOf(vector, id) <= counterOf(ownLog.vector, id)) return;
  const read = entries.filter(({ seq }) => seq > position.seq);
  const isForeign = ({ origin, data }: LogEntry): boolean => origin === id && !sent.has(data);
  if (!read.some(isForeign)) return;
  const scan = new OwnScan(id, ownLog, newestEpoch(state), intakeRules(scope));
  const past = new SecondLife(store, limits.pageBytes);
  for (const entry of read) {
    const batches = scan.take(entry);
    if (isForeign(entry)) await assertOurs(entry, batches, past);
  }
}

/**
 * After a time without the log: has another file served under our id meanwhile? Throws
 * DUPLICATE_REPLICA, and what `findOwnPast` throws. `knownSeq`: how far the log is known. One
 * question where nothing of ours came after it.
 */
export async function assertNobodyServed(scope: Scope, knownSeq: number, signal: AbortSignal): Promise<void> {
  const { log, id, instance, clock, limits, sync } = scope;
  // There, groups are in the log before they are in the database; the feed compares what other
  // programs wrote.
  if (sync !== undefined) return;
  const newest = await log.lastOf(id, signal);
  if (newest === undefined || newest.seq <= knownSeq || newest.attempt?.includes(`~${instance}`)) return;
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [signal], 'the log says what it holds of us');
  try {
    const { past } = await findOwnPast(scope, deadline, () => Promise.resolve());
    if (past !== undefined) throw foreignWriter(newest.seq, id, past.counter);
  } finally {
    deadline.end();
  }
}

/** Where to read from, and the newest own transaction that counts before it. */
interface OwnPlace {
  readonly fromSeq: number;
  readonly counted: number;
}

/**
 * Where to read from: after the position, or where the transaction began of which the position has
 * passed some parts. Whether it came in parts is not to be seen in the outbox: the relay cuts what
 * is too large for the server that it sends to.
 *
 * Only the log's order tells: parts may stand there several times, also in front of what comes
 * before them, where everybody dropped them; and what comes before them may stand behind them
 * again. So it is read from where the order arrives at what is stored as published, or from the
 * beginning of the log, however long that takes: more may count at the position, whose
 * acknowledgement was lost, and what comes next would look out of order.
 */
async function beginningOfParts(
  scope: OwnRecoveryScope,
  ownLog: AdmissionState,
  deadline: Deadline,
): Promise<OwnPlace> {
  const { store, log, id, clock } = scope;
  const { position, partial } = store.state();
  const next = position.seq + 1;
  const counted = counterOf(ownLog.vector, id);
  const [unpublished] = await store.sealed({ counter: counted, part: 0 }, 1);
  if (unpublished === undefined && !Object.hasOwn(partial, id)) return { fromSeq: next, counted };
  const identity = await retrying(clock, deadline, () => log.identity(deadline.signal));
  for (let size = FIRST_LOOK_BACK; ; size *= 4) {
    const begin = Math.max(1, identity.firstSeq, next - size);
    const isFromStart = begin <= identity.firstSeq;
    const from = isFromStart && isWhole(identity) ? 0 : undefined;
    const { scan, seq } = await lookBack(scope, { begin, end: next, from }, deadline);
    const found = scan?.counter;
    if (found !== undefined && (found === counted || (isFromStart && found >= counted)))
      return { fromSeq: seq ?? next, counted: found };
    if (isFromStart) return { fromSeq: next, counted };
  }
}

interface LookedBack {
  /** Undefined where nothing of ours is there. */
  readonly scan: OwnScan | undefined;
  /** Where the transaction begins that is in parts at the end. */
  readonly seq: number | undefined;
}

/**
 * From entry `begin` on, before `end`, which has something of ours behind it. `from`: what counts
 * in front of it; by default, what its first own transaction follows.
 */
async function lookBack(
  scope: OwnRecoveryScope,
  { begin, end, from }: { readonly begin: number; readonly end: number; readonly from: number | undefined },
  deadline: Deadline,
): Promise<LookedBack> {
  const { log, document, id, clock } = scope;
  // Until the first own entry is met.
  const epochs = new EpochFold(epochAt(scope.store.state().epochs, begin));
  const scanFrom = (counter: number): OwnScan =>
    new OwnScan(id, { vector: { [id]: counter }, partial: {} }, epochs.current, intakeRules(scope));
  let scan = from === undefined ? undefined : scanFrom(from);
  let beginning: { readonly seq: number; readonly time: number } | undefined;
  const { generation } = document;
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq: begin }));
  try {
    for (let seq = begin - 1; seq < end - 1;) {
      for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
        ({ seq } = entry);
        if (seq >= end) break;
        if (scan === undefined) {
          epochs.take(entry);
          const first = entry.origin === id ? firstCounterOf(entry) : undefined;
          if (first !== undefined) scan = scanFrom(first - 1);
        }
        scan?.take(entry);
        const begun = scan?.begun;
        if (begun === undefined) beginning = undefined;
        else if (begun.time !== beginning?.time) beginning = { seq, time: begun.time };
      }
      deadline.renew();
    }
  } finally {
    void reader.close();
  }
  return { scan, seq: beginning?.seq };
}

/** Undefined where it is malformed, and not ours. */
function firstCounterOf({ data }: LogEntry): number | undefined {
  try {
    return summarize(data)[0]?.firstCounter;
  } catch {
    return undefined;
  }
}

/** Admits own messages in log order, as every replica does. */
export class OwnScan {
  /** The latest hybrid time among what is complete. */
  time = 0;
  #state: AdmissionState;
  readonly #epochs: EpochFold;

  constructor(
    private readonly id: string,
    state: AdmissionState,
    epoch: Epoch,
    /** What no replica applies does not count: a forged message must not lift our counter. */
    private readonly rules: IntakeRules,
  ) {
    this.#state = state;
    this.#epochs = new EpochFold(epoch);
  }

  get state(): AdmissionState {
    return this.#state;
  }

  get counter(): number {
    return counterOf(this.#state.vector, this.id);
  }

  /** Of the next transaction some parts are there. */
  get begun(): AdmissionState['partial'][string] | undefined {
    const { partial } = this.#state;
    const kept = Object.hasOwn(partial, this.id) ? partial[this.id] : undefined;
    return kept !== undefined && kept.counter > this.counter ? kept : undefined;
  }

  #enterEpoch(record: EpochRecord): void {
    const isOurs = record.primary === this.id;
    this.#state = isOurs ? inEpoch(this.#state, record) : { ...this.#state, partial: {} };
  }

  /** Returns what of the entry counts. Wants the records of epochs as well. */
  take(entry: LogEntry): readonly Batch[] {
    const record = this.#epochs.take(entry);
    if (record !== undefined) this.#enterEpoch(record);
    if (entry.origin !== this.id) return [];
    const taken: Batch[] = [];
    try {
      const batches = decodeBatches(entry.data);
      for (const batch of batches) {
        if (refuseBatch(entry, batch, this.rules) !== undefined) continue;
        if (batch.origin !== this.id || isFenced(this.#epochs.current, batch)) continue;
        const admission = admit(this.#state, batch);
        if (admission.type !== 'apply') continue;
        this.#state = admitted(this.#state, batch);
        if (batch.kind !== 'part' || batch.last) this.time = Math.max(this.time, latestTime(batch));
        taken.push(batch.kind === 'part' ? newOfPart(batch, admission.skip) : batch);
      }
    } catch {
      // Malformed: the feed quarantines it when it gets there.
    }
    return taken;
  }
}
