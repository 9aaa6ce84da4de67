import {
  shownOption,
  AntiphonError,
  assertIntegers,
  checkOptions,
  type ChecksumReport,
  counterOf,
  type Integers,
  newestEpoch,
  NOBODY,
  oneOf,
  type OptionNames,
  type QueryResult,
  type RowDigest,
  type TransactionId,
  type Value,
} from '@antiphon/core';
import { needsSync } from '../config/needs-sync.js';
import { Deadline } from '../wait/deadline.js';
import { isPrimary, type Known, knownOf } from '../state/authority.js';
import { untilReplicated } from '../state/progress.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import {
  isReached,
  lostOf,
  parseSessionToken,
  sessionLost,
  type SessionPosition,
  type SessionToken,
} from '../state/session.js';
import type { Params } from '../write/statement.js';
import type { ReadPlaces } from './read-places.js';
import type { RowForm } from './row-objects.js';

/**
 * What a read promises. `any`: this database as it is. `bounded`: everything that the log held
 * `maxLagMs` ago. `session`: at least what `after` stands for (read your writes, monotonic reads).
 * `strong`: everything that was acknowledged anywhere before the call (linearizable); synchronous
 * clusters, or the one writer of a primary-replica cluster.
 */
export type Consistency = 'any' | 'bounded' | 'session' | 'strong';

/** What a query promises, and its bounds. */
export interface QueryOptions {
  /**
   * Maximum rows of the result. More are an error (BAD_SQL), never cut off silently.
   * @defaultValue `limits.queryRows`, 10 000
   */
  readonly maxRows?: number;
  /**
   * Maximum bytes of the result, about. More are an error (BAD_SQL).
   * @defaultValue `limits.queryBytes`, 32 MiB
   */
  readonly maxBytes?: number;
  /** Ends the query at once, whatever it does. */
  readonly signal?: AbortSignal;
  /**
   * What the read promises; see `Consistency`.
   * @defaultValue 'any'
   */
  readonly consistency?: Consistency;
  /** With `'session'`: the `position` of a write, or of what was read before. */
  readonly after?: SessionToken;
  /**
   * With `'bounded'`: how old what is read may be, in milliseconds, compared with the log. What a
   * writer has not sent yet (`update.intervalMs`) is not in the log.
   */
  readonly maxLagMs?: number;
  /**
   * How long the read may take, in milliseconds; TIMEOUT after that, and the query is ended.
   * `'bounded'`, `'session'` and `'strong'` wait for what they promise within it, at most 5000 when
   * it is left out.
   * @defaultValue `limits.queryTimeoutMs`, 30 000
   */
  readonly timeoutMs?: number;
  /**
   * How much of it may be spent on waiting for what is promised, in milliseconds; TIMEOUT after
   * that, with `behind: true` in its context.
   * @defaultValue all of it
   */
  readonly waitMs?: number;
  /**
   * How 64-bit integers come out. With `'number'`, one that a number does not hold exactly is
   * BAD_OPTION.
   * @defaultValue 'bigint'
   */
  readonly integers?: Integers;
  /**
   * How each row comes out: as an object by the names of its columns, of which the last of several
   * with one name is kept, or as an array in the order of the columns.
   * @defaultValue 'object'
   */
  readonly rows?: RowForm;
}

const QUERY_OPTIONS: OptionNames<QueryOptions> = {
  ...{
    maxRows: true,
    maxBytes: true,
    signal: true,
    consistency: true,
    after: true,
    maxLagMs: true,
    timeoutMs: true,
    waitMs: true,
    integers: true,
    rows: oneOf('object', 'array'),
  },
};
const DEFAULT_WAIT_MS = 5000;
const SHOWN_SQL = 200;
const IS_CHANGING = 'Which replica is the primary is being decided. Call again in a moment.';

/** Rows, and a session token: a read that comes after it shows no less. */
export interface PlacedResult extends QueryResult {
  /**
   * Absent where nobody can tell: what another program has written has no number yet, and cannot
   * get one now. A read of a session fails instead.
   */
  readonly position?: SessionPosition;
}

/** For whom it is. */
export interface PlacedOptions extends QueryOptions {
  /** Whoever asks goes on from the place: TIMEOUT where there is none, with `behind: true`. */
  readonly placed?: boolean;
}

/** As `read`. */
export function readWithPlace(
  scope: ReplicaScope,
  places: ReadPlaces,
  sql: string,
  params: Params,
  { placed, ...options }: PlacedOptions,
): Promise<PlacedResult> {
  const isNeeded = placed === true || options.consistency === 'session';
  return readThen(scope, sql, params, options, async ({ columns, rows }) => {
    const position = isNeeded ? await places.now().catch(rethrowBehind) : await places.ifKnown();
    return { columns, rows, ...(position && { position }) };
  });
}

/** Throws BAD_SQL, BAD_OPTION, TIMEOUT, ABORTED, LOG_UNAVAILABLE, OVERLOADED, CLOSED. */
export function read(
  scope: ReplicaScope,
  sql: string,
  params: Params,
  options: QueryOptions,
): Promise<QueryResult> {
  return readThen(scope, sql, params, options, (result) => result);
}

async function readThen<T>(
  scope: ReplicaScope,
  sql: string,
  params: Params,
  options: QueryOptions,
  finish: (result: QueryResult) => T | Promise<T>,
): Promise<T> {
  const { clock, limits, store } = scope;
  checkOptions(options, QUERY_OPTIONS, 'query()');
  assertReadable(sql, params);
  const { timeoutMs = limits.queryTimeoutMs, signal, integers = 'bigint' } = options;
  assertIntegers(integers);
  assertLimits({ ...options, timeoutMs });
  const deadline = new Deadline(clock, timeoutMs, [signal], () => queryTimeout(timeoutMs, sql));
  try {
    for (let waiting = options; ; waiting = { ...options, signal: deadline.signal }) {
      const standing = standingOf(scope);
      await waitFor(scope, waiting).catch(rethrowBehind);
      const result = await store.query(sql, params, {
        maxRows: options.maxRows ?? limits.queryRows,
        maxBytes: options.maxBytes ?? limits.queryBytes,
        signal: deadline.signal,
      });
      const finished = await finish(result);
      if (standsAsIn(standing, scope)) return finished;
    }
  } finally {
    deadline.end();
  }
}

/** Of a database, as far as a takeover changes it. */
export interface Standing {
  readonly epoch: number;
  readonly ownCounter: number;
  readonly spentCounter: number;
}

export function standingOf({ store, id }: Pick<ReplicaScope, 'store' | 'id'>): Standing {
  const state = store.state();
  const { spentCounter } = state;
  return { epoch: newestEpoch(state).number, ownCounter: counterOf(state.vector, id), spentCounter };
}

/**
 * Between the wait and the place, a replica that is deposed may undo what only it has. What was
 * read then fits neither what was waited for nor the place; nobody can tell which state it shows.
 */
export function standsAsIn(before: Standing, scope: Pick<ReplicaScope, 'store' | 'id'>): boolean {
  const { epoch, ownCounter, spentCounter } = standingOf(scope);
  // What was undone may be younger than the read: its numbers are spent all the same, before the
  // epoch that it was undone for has begun.
  return epoch === before.epoch && ownCounter >= before.ownCounter && spentCounter === before.spentCounter;
}

/** What they stand for is looked at when they are bound. Throws BAD_OPTION. */
export function assertReadable(sql: unknown, params: unknown): void {
  if (typeof sql !== 'string')
    throw new AntiphonError('BAD_OPTION', 'A query needs a statement. Give SQL as text.');
  if (typeof params === 'object' && params !== null) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`params\` is ${shownOption(params)}. Give a list of values, or an object with a value for each name.`,
  );
}

/** The checksums of `verify`, within their time. Throws TIMEOUT, UNKNOWN_TABLE, CLOSED. */
export function readChecksum(
  scope: ReplicaScope,
  tables: readonly string[] | undefined,
  timeoutMs = scope.limits.checksumTimeoutMs,
): Promise<ChecksumReport> {
  return withinTime(scope, 'The checksums', timeoutMs, (signal) => scope.store.checksum(tables, signal));
}

/** One page of row digests, within its time. Throws TIMEOUT, UNKNOWN_TABLE, CLOSED. */
export function readDigests(
  scope: ReplicaScope,
  { table, afterKey, limit }: DigestRequest,
): Promise<readonly RowDigest[]> {
  const { store, limits } = scope;
  return withinTime(scope, `The digests of ${table}`, limits.checksumTimeoutMs, (signal) =>
    store.rowDigests(table, afterKey, limit, signal),
  );
}

export interface DigestRequest {
  readonly table: string;
  readonly afterKey?: readonly Value[];
  readonly limit: number;
}

async function withinTime<T>(
  { clock }: ReplicaScope,
  what: string,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new Deadline(clock, timeoutMs, [], () => {
    const message = `${what} took longer than ${timeoutMs} ms and were ended. Give them more time, or fewer tables.`;
    return new AntiphonError('TIMEOUT', message);
  });
  try {
    return await work(deadline.signal);
  } finally {
    deadline.end();
  }
}

/** Of a statement in a message. */
export function shownSql(sql: string): string {
  return (sql.length > SHOWN_SQL ? `${sql.slice(0, SHOWN_SQL)}…` : sql).replace(/\s+/g, ' ');
}

function queryTimeout(timeoutMs: number, sql: string): AntiphonError {
  return new AntiphonError(
    'TIMEOUT',
    `The query took longer than ${timeoutMs} ms and was ended: ${shownSql(sql)}. ` +
      'Make it do less (an index, a LIMIT), or raise `timeoutMs`.',
  );
}

/** Throws BAD_OPTION. */
function assertLimits(options: QueryOptions): void {
  for (const name of ['timeoutMs', 'waitMs', 'maxRows', 'maxBytes'] as const) {
    const value = options[name];
    if (value === undefined || (typeof value === 'number' && value > 0)) continue;
    throw new AntiphonError('BAD_OPTION', `\`${name}\` is ${shownOption(value)}. Give a number above 0.`);
  }
}

/** For whoever can read elsewhere: it is not the query that takes long. */
export function rethrowBehind(thrown: unknown): never {
  if (!(thrown instanceof AntiphonError) || thrown.code !== 'TIMEOUT') throw thrown;
  const { message, context, cause } = thrown;
  throw new AntiphonError('TIMEOUT', message, { cause, context: { ...context, behind: true } });
}

/** What the read promises. Throws BAD_OPTION, TIMEOUT, ABORTED, LOG_UNAVAILABLE, CLOSED. */
export async function waitFor(scope: ReplicaScope, options: QueryOptions): Promise<void> {
  const { consistency = 'any', after, maxLagMs, signal } = options;
  const timeoutMs = options.waitMs ?? options.timeoutMs ?? DEFAULT_WAIT_MS;
  if (after !== undefined && consistency !== 'session')
    throw new AntiphonError('BAD_OPTION', "`after` needs consistency 'session'.");
  if (maxLagMs !== undefined && consistency !== 'bounded')
    throw new AntiphonError('BAD_OPTION', "`maxLagMs` needs consistency 'bounded'.");
  switch (consistency) {
    case 'any':
      return;
    case 'strong':
      return strong(scope, timeoutMs, signal);
    case 'bounded':
      return bounded(scope, maxLagMs, timeoutMs, signal);
    case 'session':
      return session(scope, after, timeoutMs, signal);
  }
  throw new AntiphonError(
    'BAD_OPTION',
    `\`consistency\` is ${shownOption(consistency)}. Give 'any', 'bounded', 'session' or 'strong'.`,
  );
}

async function bounded(
  scope: ReplicaScope,
  maxLagMs: unknown,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (typeof maxLagMs !== 'number' || !(maxLagMs > 0)) {
    const message = `Consistency 'bounded' needs \`maxLagMs\`, a number above 0. It is ${shownOption(maxLagMs)}.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const { clock, closing } = scope;
  const what = `this database shows what the log held within the last ${maxLagMs} ms`;
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], what);
  try {
    await scope.freshness.within(maxLagMs, deadline);
  } finally {
    deadline.end();
  }
}

async function session(
  scope: ReplicaScope,
  after: unknown,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (after === undefined) {
    throw new AntiphonError(
      'BAD_OPTION',
      "Consistency 'session' needs `after`, the `position` of an earlier write.",
    );
  }
  const token = parseSessionToken(after);
  const { store, positions, progress, clock, closing, health } = scope;
  const what = 'what the session has seen is applied here';
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], what);
  const lost = (): TransactionId | undefined => lostOf(token, store.state(), positions.passed);
  const reached = (): boolean => isReached(token, store.state(), positions.applied);
  try {
    await untilReplicated(progress, health, () => lost() !== undefined || reached(), {
      ...{ timeoutMs, what, signal: deadline.signal },
    });
    const gone = lost();
    if (gone !== undefined) throw sessionLost(gone);
  } finally {
    deadline.end();
  }
}

async function strong(
  scope: ReplicaScope,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sync, authority, clock, closing, id, cluster } = scope;
  if (sync === undefined) {
    if (authority.current().role !== 'primary') {
      throw authority.current().role === 'peer'
        ? needsSync("Consistency 'strong' where several replicas write", { cluster, replica: id })
        : notPrimary(cluster, id, knownOf(authority));
    }
    // The only database that is ever written to shows everything that was acknowledged.
    if (!authority.byTerm) return;
  }
  const what = 'the log has taken the entry that a strong read needs';
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], what);
  try {
    await scope.barrier.pass(deadline);
  } finally {
    deadline.end();
  }
  // What it has read up to there may have made another one the primary, whose writes come later.
  if (sync === undefined && !isPrimary(authority)) throw overtaken(cluster, id, knownOf(authority));
}

/** Another replica acknowledges writes, which may not have come here yet. */
function notPrimary(cluster: string, id: string, { epoch, primary = NOBODY }: Known): AntiphonError {
  const isChanging = primary === NOBODY || primary === id;
  const where = isChanging ? IS_CHANGING : `Read at ${primary}, the primary.`;
  return new AntiphonError(
    'NOT_PRIMARY',
    `Replica ${id} cannot tell what was acknowledged last, which a strong read has to show. ${where}`,
    { context: { cluster, replica: id, primary, epoch }, retriable: isChanging },
  );
}

/** Its database shows what was acknowledged up to the other's epoch, and nothing behind it. */
function overtaken(cluster: string, id: string, { epoch, primary = NOBODY }: Known): AntiphonError {
  const isChanging = primary === NOBODY || primary === id;
  const where = isChanging ? IS_CHANGING : `${primary} is the primary now. Read there.`;
  return new AntiphonError(
    'NOT_IN_SYNC',
    `Replica ${id} is not the primary any more, and cannot tell what was acknowledged since. ${where}`,
    { context: { cluster, replica: id, primary, epoch } },
  );
}
