import {
  abortError,
  abortReason,
  AntiphonError,
  assertIntegers,
  assertTablesWanted,
  type ChangeCursor,
  ChangeStream,
  checkOptions,
  counterOf,
  decodeCursor,
  endable,
  type ErrorCode,
  findPlace,
  findOpenParts,
  formatTransactionId,
  type Integers,
  type LogEntry,
  type LoggedChange,
  type LogReader,
  merge,
  type OptionNames,
  type Position,
  readFrom,
  replicatedNames,
  type RowObject,
  type SecondLook,
  SecondLooks,
  sleep,
  type Standpoint,
  type TransactionId,
  type VectorClock,
  withAbortReason,
  withIntegers,
  epochAt,
  usersTables,
} from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { isKnownMember } from '../cluster/members.js';
import { groupOf } from '../state/certification.js';
import type { Scope } from '../state/scope.js';
import { Deadline } from '../wait/deadline.js';
import { isTracing } from '../tracing/tracer.js';
import { Coverage } from './coverage.js';
import { PlaceJudge, unlessTrimmed } from './place-judge.js';

/** A change of one row, committed and applied on this replica. */
export type CommittedChange<R = RowObject, T extends string = string> = LoggedChange<R, T> & {
  /** A session token, for `query`: a read after it shows this change. */
  readonly position: Position;
};

/**
 * The changes of these tables: of `{ users: User; orders: Order }`, those whose `table` is
 * `'users'` or `'orders'`.
 */
export type ChangeOf<Tables> = {
  [T in keyof Tables & string]: CommittedChange<Tables[T], T>;
}[keyof Tables & string];

/** Which changes to follow, and from where. */
export interface ChangesOptions<T extends string = string> {
  /**
   * Only changes of these tables; UNKNOWN_TABLE for one that the cluster does not replicate.
   * @defaultValue all of them
   */
  readonly tables?: readonly T[];
  /**
   * Where to begin: `'now'`, the call; `'beginning'`, as far back as the log reaches; or the
   * `cursor` of a change, to go on after it.
   * @defaultValue 'now'
   */
  readonly from?: string;
  /**
   * How 64-bit integers come out. With `'number'`, one that a number does not hold exactly ends the
   * stream with BAD_OPTION.
   * @defaultValue 'bigint'
   */
  readonly integers?: Integers;
  /** Ends the stream: it throws the reason given to `abort(reason)`, or ABORTED. */
  readonly signal?: AbortSignal;
}

const CHANGES_OPTIONS: OptionNames<ChangesOptions> = {
  tables: true,
  from: true,
  integers: true,
  signal: true,
};
/** Between two tries to go on while the log cannot be read. */
export const REOPEN_MS = 500;
const READ = { maxEntries: 64, maxBytes: 1024 * 1024 };

/**
 * Where a stream begins: what the database held at the call, and the log too. What only the
 * database holds may never come into the log, and its counters be given again.
 */
export interface Beginning extends Standpoint {
  readonly generation: string;
  /** The newest transaction of this replica at the call; perhaps it is not in the log yet. */
  readonly own: TransactionId;
}

/**
 * Committed changes in log order, each once, only as far as this replica has applied them. A stream
 * from `'now'` begins at the call, not at the first `next()`. A slow consumer does not buffer in
 * memory; unread entries stay in the log. Ends with `return()`, the signal (ABORTED), or the
 * replica. Throws BAD_OPTION, UNKNOWN_TABLE and CLOSED at the call.
 */
export function changesOf(
  scope: Scope,
  options: ChangesOptions,
): AsyncGenerator<CommittedChange, void, undefined> {
  checkOptions(options, CHANGES_OPTIONS, 'changes()');
  const { from = 'now', signal } = options;
  const choice = choiceOf(scope, options, 'changes()');
  // A loop around it would go round without a pause.
  scope.closing.throwIfAborted();
  const beginning = beginningOf(scope, from);
  return endable((ending) => {
    const either = signal === undefined ? ending : AbortSignal.any([signal, ending]);
    return throughout(scope, { beginning, ...choice, signal: either, tooOld: 'PLACE_LOST' });
  });
}

/**
 * Reads the log again for what the database took only after the stream had passed it, and waits for
 * NATS then: a stream that has begun does not end because the log cannot be reached.
 */
async function* throughout(
  scope: Scope,
  following: Following,
): AsyncGenerator<CommittedChange, void, undefined> {
  const { clock, closing } = scope;
  let { beginning } = following;
  const signals = following.signal === undefined ? [closing] : [following.signal, closing];
  await assertReachable(scope, beginning, following.signal);
  const old = beginning !== undefined && 'own' in beginning ? beginning.own : undefined;
  const looks = new SecondLooks();
  const passed: Following['passed'] = (place) => {
    beginning = place;
    looks.delivered(place.vector);
  };
  for (;;) {
    const found: { missed?: TransactionId } = {};
    const missed: Following['missed'] = (id, place) => {
      found.missed = id;
      beginning = place;
    };
    try {
      const look = await secondLook(scope, looks, beginning, following.signal);
      const again = look && { beginning: look.place, again: look.order };
      yield* follow(scope, { ...following, beginning, missed, passed, ...(old && { old }), ...again });
      if (found.missed === undefined) return;
      if (!looks.misses(found.missed)) throw notInLog(scope.id, found.missed);
    } catch (error) {
      if (!looks.isLooking || !(error instanceof AntiphonError) || !error.retriable) throw error;
      await sleep(clock, REOPEN_MS, AbortSignal.any(signals)).catch((reason: unknown) => {
        if (!closing.aborted) throw abortReason(reason, following.signal);
      });
      if (closing.aborted) return;
    }
  }
}

/** A place far ahead of everything that there is would deliver nothing, without a word. */
async function assertReachable(
  scope: Scope,
  place: Following['beginning'],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (place === undefined || 'own' in place) return;
  const { clock, limits, closing } = scope;
  const deadline = new Deadline(clock, limits.connectTimeoutMs, [signal, closing], 'the place is known');
  try {
    const verdict = await deadline.race(new PlaceJudge(scope, 0).verdictOn(place, deadline.signal));
    if (verdict.type === 'lost') throw streamLost(verdict.why);
  } catch (error) {
    // Whatever else is in the way, reading the log meets it too.
    if (error instanceof AntiphonError && error.code === 'PLACE_LOST') throw error;
  } finally {
    deadline.end();
  }
}

async function secondLook(
  { log, clock, limits, closing }: Scope,
  looks: SecondLooks,
  place: Following['beginning'],
  signal?: AbortSignal,
): Promise<SecondLook | undefined> {
  if (place === undefined || 'own' in place) return undefined;
  const signals = signal === undefined ? [closing] : [signal, closing];
  const deadline = new Deadline(clock, limits.connectTimeoutMs, signals, 'the log says where it begins');
  try {
    return await deadline.race(looks.at(log, place, deadline.signal));
  } finally {
    deadline.end();
  }
}

function notInLog(id: string, transaction: TransactionId): AntiphonError {
  const what = `transaction ${formatTransactionId(transaction)}, which ${id} has, is not in the log any more`;
  return new AntiphonError(
    'PLACE_LOST',
    `The changes of ${what}, or cannot be read there. Begin a new stream from now, and read its rows with query().`,
  );
}

/** Which changes somebody wants, and how. */
export interface Choice {
  readonly wanted: ReadonlySet<string> | undefined;
  readonly integers: Integers;
}

/** Throws BAD_OPTION, UNKNOWN_TABLE. */
export function choiceOf(
  { document, id }: Scope,
  { tables, integers = 'bigint' }: Pick<ChangesOptions, 'tables' | 'integers'>,
  what: string,
): Choice {
  assertTablesWanted(tables, what);
  assertIntegers(integers);
  return {
    wanted: tables && new Set(replicatedNames(tables, usersTables(document.schema.tables), `Replica ${id}`)),
    integers,
  };
}

/** undefined: as far back as the log reaches. Throws BAD_OPTION. */
export function beginningOf(
  { id, store, positions }: Scope,
  from: string,
): Beginning | ChangeCursor | undefined {
  if (from === 'beginning') return undefined;
  if (from !== 'now') return decodeCursor(from);
  const { vector, partial, position, publishedCounter } = store.state();
  const own = { origin: id, counter: counterOf(vector, id) };
  const published = Math.min(publishedCounter, own.counter);
  return {
    ...{ generation: position.generation, seq: positions.passed + 1, partial, own },
    vector: published > 0 ? { ...vector, [id]: published } : without(vector, id),
  };
}

function without(vector: VectorClock, origin: string): VectorClock {
  const { [origin]: _, ...others } = vector;
  return others;
}

export interface Following extends Choice {
  readonly beginning: Beginning | ChangeCursor | undefined;
  /** Of a second reading, what counts. */
  readonly again?: SecondLook['order'];
  readonly signal: AbortSignal | undefined;
  /** This transaction of the replica, and those before it, are passed without a change. */
  readonly old?: TransactionId;
  /** Of the error when certification's verdicts on what follows are not kept any more. */
  readonly tooOld: ErrorCode;
  /** PLACE_LOST, of a stream that has a name. `why`: a sentence. */
  readonly lost?: (why: string) => AntiphonError;
  /** Told of each entry before its changes, which the spans that it came under go with. */
  readonly began?: (entry: LogEntry) => void;
  /** Told where to go on once an entry was delivered to its end, wanted or not. */
  readonly passed?: (place: ChangeCursor) => void;
  /**
   * Told of a transaction that this database has and the stream has passed without meeting it; the
   * stream ends then. It can be met by reading the log again.
   */
  readonly missed?: (id: TransactionId, place: ChangeCursor) => void;
}

/** Ends when the replica closes, and throws the reason of the signal. */
export async function* follow(
  scope: Scope,
  {
    beginning,
    again,
    wanted,
    integers,
    signal: given,
    tooOld,
    lost = streamLost,
    old,
    began,
    passed,
    missed,
  }: Following,
): AsyncGenerator<CommittedChange, void, undefined> {
  const { closing, clock, limits, members, progress, store, id } = scope;
  const signal = given === undefined ? closing : AbortSignal.any([given, closing]);
  const opening = new Deadline(clock, limits.connectTimeoutMs, [signal], 'the log can be read');
  let start: ChangeCursor;
  let reader: LogReader;
  try {
    start = await startOf(scope, beginning, opening, lost);
    reader = await openReader(scope, start, opening, began !== undefined && isTracing());
  } catch (error) {
    if (closing.aborted) return;
    throw abortReason(error, given);
  } finally {
    opening.end();
  }
  const stream = new ChangeStream(start, {
    rules: () => intakeRules(scope),
    isMember: (origin) => origin === id || isKnownMember(scope, origin, store.state()),
    epochAt: (seq) => epochAt(store.state().epochs, seq),
    judgesCauses: true,
    tooOld,
    keptBytes: limits.changeFeedBytes,
    tooLargeHint: 'Raise `limits.changeFeedBytes`, or read its rows with query() and continue from now.',
    isCommitted: (transaction) => counterOf(progress.vector, transaction.origin) >= transaction.counter,
    isOld: ({ origin, counter }) => old !== undefined && origin === old.origin && counter <= old.counter,
    hasLeft: (origin) => members.isFormer(origin),
    ...(again && { again }),
  });
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  let isReading = false;
  // The consumer has a change in hand, and may never ask for another one.
  const closeReader = (): void => {
    if (!isReading) void reader.close();
  };
  signal.addEventListener('abort', closeReader, { once: true });
  const coverage = new Coverage(scope);
  let passedSeq = readFrom(start) - 1;
  const missedNow =
    missed && ((): TransactionId | undefined => coverage.missedBy(stream.placeAfter(passedSeq), passedSeq));
  try {
    for (;;) {
      const id = missedNow?.();
      if (id !== undefined) return missed?.(id, stream.placeAfter(passedSeq));
      isReading = true;
      const entries = await withAbortReason(
        nextApplied(scope, reader, { signal, ...(missedNow && { look: missedNow }) }),
        {
          signal: given,
        },
      ).catch(async (error: unknown) => {
        throw await unlessTrimmed(scope, error, stream.placeAfter(passedSeq), lost);
      });
      isReading = false;
      if (entries === undefined) return;
      for (const entry of entries) {
        // One by one: a replica that holds at the next one has applied this one.
        if (!(await isApplied(scope, entry.seq, signal, given))) return;
        const rejected = await rejectedIn(scope, entry);
        began?.(entry);
        for (const change of stream.changesIn(entry, rejected, isWanted)) {
          const position = { generation: start.generation, seq: change.seq };
          yield { ...(integers === 'bigint' ? change : inNumbers(change)), position };
        }
        passedSeq = entry.seq;
        passed?.(stream.placeAfter(passedSeq));
      }
    }
  } finally {
    signal.removeEventListener('abort', closeReader);
    // Not awaited: it would hold up whoever breaks out of the loop, for a broker that may be gone.
    void reader.close();
  }
}

function inNumbers(change: LoggedChange): LoggedChange {
  const plain = (row: RowObject): RowObject =>
    Object.fromEntries(
      Object.entries(row).map(([column, value]) => [
        column,
        withIntegers(value, 'number', `${change.table}.${column}`),
      ]),
    );
  const key = plain(change.key);
  if (change.op === 'insert') return { ...change, key, after: plain(change.after) };
  if (change.op === 'delete') return { ...change, key, before: plain(change.before) };
  return { ...change, key, before: plain(change.before), after: plain(change.after) };
}

interface Waiting {
  readonly signal: AbortSignal;
  /** Asked while nothing comes: something is to be done without another entry. */
  readonly look?: () => unknown;
}

/** Waits for it; false when the replica is closing. Throws the reason of the caller's signal. */
async function isApplied(
  { positions, progress, closing }: Scope,
  seq: number,
  signal: AbortSignal,
  given: AbortSignal | undefined,
): Promise<boolean> {
  if (positions.passed >= seq) return true;
  const applied = progress.until(() => positions.passed >= seq, {
    timeoutMs: Infinity,
    signal,
    what: `entry ${seq} is applied here`,
  });
  try {
    await withAbortReason(applied, { signal: given });
    return true;
  } catch (error) {
    if (closing.aborted) return false;
    throw error;
  }
}

/** undefined: the replica is closing. No entry: `look` has found something. */
async function nextApplied(
  scope: Scope,
  reader: LogReader,
  { signal, look }: Waiting,
): Promise<readonly LogEntry[] | undefined> {
  const { progress, closing } = scope;
  if (closing.aborted) return undefined;
  // The reader is closed then.
  if (signal.aborted) throw abortError(signal, 'The stream of changes was ended by its signal.');
  const waking = new AbortController();
  const stopLooking =
    look &&
    progress.onMove(() => {
      if (look() !== undefined) waking.abort();
    });
  try {
    const until = look === undefined ? signal : AbortSignal.any([signal, waking.signal]);
    return await reader.next({ ...READ, signal: until }).finally(stopLooking);
  } catch (error) {
    if (closing.aborted) return undefined;
    if (waking.signal.aborted && !signal.aborted) return [];
    throw error;
  }
}

/** One that opens too late, for nobody, is closed again. */
async function openReader(
  scope: Scope,
  start: ChangeCursor,
  deadline: Deadline,
  traced: boolean,
): Promise<LogReader> {
  const opening = scope.log.read({ generation: start.generation, fromSeq: readFrom(start), traced });
  try {
    return await deadline.race(opening);
  } catch (error) {
    opening.then((late) => late.close()).catch(() => undefined);
    throw error;
  }
}

/**
 * The first place of a stream that others go on with, from other databases: it waits until the log
 * has what this replica had committed before. Throws as `startOf` does.
 */
export async function sharedStartOf(
  scope: Scope,
  beginning: Following['beginning'],
  deadline: Deadline,
  lost: (why: string) => AntiphonError,
): Promise<ChangeCursor> {
  const { store, progress } = scope;
  if (beginning === undefined || !('own' in beginning)) return startOf(scope, beginning, deadline, lost);
  const { origin, counter } = beginning.own;
  await progress.until(() => store.state().publishedCounter >= counter, {
    timeoutMs: Infinity,
    signal: deadline.signal,
    what: `transaction ${formatTransactionId(beginning.own)} is in the log`,
  });
  const start = await startOf(scope, beginning, deadline, lost);
  return { ...start, vector: merge(start.vector, { [origin]: counter }) };
}

/** Throws LOG_UNAVAILABLE, TIMEOUT, PLACE_LOST, and the reason of the deadline's signal. */
export async function startOf(
  { store, log, members }: Scope,
  beginning: Following['beginning'],
  deadline: Deadline,
  lost: (why: string) => AntiphonError = streamLost,
): Promise<ChangeCursor> {
  if (beginning === undefined) {
    const { generation } = store.state().position;
    const { firstSeq } = await deadline.race(log.identity(deadline.signal));
    const start = { generation, seq: Math.max(1, firstSeq), vector: {}, inside: {} };
    // Of what was trimmed nobody knows whose it was.
    return firstSeq > 1 ? { ...start, isPartial: true } : start;
  }
  if (!('own' in beginning)) {
    const found = await deadline.race(findPlace(log, beginning, deadline.signal));
    if ('lost' in found) throw lost(found.lost);
    return found.place;
  }
  const { generation, vector, seq } = beginning;
  const get = async (at: number): Promise<LogEntry | undefined> => {
    const entry = await deadline.race(log.get(at, deadline.signal));
    deadline.renew();
    return entry;
  };
  const { firstSeq } = await deadline.race(log.identity(deadline.signal));
  // What a removed member began, it does not finish.
  const partial = Object.fromEntries(
    Object.entries(beginning.partial).filter(([origin]) => !members.isFormer(origin)),
  );
  const open = await findOpenParts(get, { ...beginning, partial }, firstSeq);
  const last = seq > 1 ? await get(seq - 1) : undefined;
  return {
    ...{ generation, seq, vector, inside: {} },
    ...open,
    ...(last && { entry: { seq: last.seq, storedAtMs: last.storedAtMs } }),
  };
}

function streamLost(why: string): AntiphonError {
  return new AntiphonError(
    'PLACE_LOST',
    `The stream of changes cannot go on at this cursor. ${why} Begin a new stream from now, and make up for what it ` +
      'missed with query(). See docs/subscriptions.md.',
  );
}

/** Counters that certification rejected; undefined when that is not kept any more. */
async function rejectedIn({ sync, store }: Scope, entry: LogEntry): Promise<readonly number[] | undefined> {
  if (sync?.certification === undefined) return [];
  const group = groupOf(entry.data);
  if (group === undefined) return [];
  const outcome = await store.outcomeOf({ origin: entry.origin, counter: group.firstCounter });
  return outcome?.rejected;
}
