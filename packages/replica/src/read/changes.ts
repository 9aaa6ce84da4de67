import {
  AntiphonError,
  assertIntegers,
  ChangeStream,
  checkOptions,
  counterOf,
  decodeCursor,
  replicatedNames,
  summarize,
  withIntegers,
  type BatchSummary,
  type ChangeCursor,
  type Integers,
  type Log,
  type LogEntry,
  type LoggedChange,
  type LogReader,
  type OptionNames,
  type Position,
  type RowObject,
  type StoreState,
} from '@antiphon/core';
import { intakeRules } from '../deliver/rules.js';
import { isKnownMember } from '../cluster/members.js';
import { groupOf } from '../state/certification.js';
import type { Scope } from '../state/scope.js';
import { Deadline } from '../wait/deadline.js';

/** A change of one row, committed and applied on this replica. */
export type CommittedChange<R = RowObject, T extends string = string> = LoggedChange<R, T> & {
  /** A session token, for `query`: a read after it shows this change. */
  readonly position: Position;
};

/** The changes of these tables: of `{ users: User; orders: Order }`, those whose `table` is `'users'` or `'orders'`. */
export type ChangeOf<Tables> = {
  [T in keyof Tables & string]: CommittedChange<Tables[T], T>;
}[keyof Tables & string];

export interface ChangesOptions<T extends string = string> {
  /** UNKNOWN_TABLE for one that the cluster does not replicate. Defaults to all of them. */
  readonly tables?: readonly T[];
  /**
   * `'now'`, the call; `'beginning'`, as far back as the log reaches; or the cursor of a change. Defaults to
   * `'now'`.
   */
  readonly from?: string;
  /** Defaults to `'bigint'`. */
  readonly integers?: Integers;
  /** Ends the stream, which throws ABORTED. */
  readonly signal?: AbortSignal;
}

const CHANGES_OPTIONS: OptionNames<ChangesOptions> = {
  tables: true,
  from: true,
  integers: true,
  signal: true,
};
/** Parts of transactions that began longer ago are not looked for. */
const MAX_LOOK_BACK = 20_000;
const READ = { maxEntries: 64, maxBytes: 1024 * 1024 };

/** Where a stream begins. Of a call, what the database held then. */
type Beginning = Pick<StoreState, 'vector' | 'partial'> & {
  readonly generation: string;
  readonly seq: number;
};

/**
 * Committed changes in log order, each once, only as far as this replica has applied them. A stream from
 * `'now'` begins at the call, not at the first `next()`. A slow consumer does not buffer in memory; unread
 * entries stay in the log. Ends with `return()`, the signal (ABORTED), or the replica. Throws BAD_OPTION and
 * UNKNOWN_TABLE at the call.
 */
export function changesOf(
  scope: Scope,
  options: ChangesOptions,
): AsyncGenerator<CommittedChange, void, undefined> {
  checkOptions(options, CHANGES_OPTIONS, 'changes()');
  const { tables, from = 'now', integers = 'bigint', signal } = options;
  if (tables !== undefined && !Array.isArray(tables))
    throw new AntiphonError('BAD_OPTION', '`tables` of changes() is not valid; give a list of table names.');
  assertIntegers(integers);
  const wanted =
    tables && new Set(replicatedNames(tables, scope.document.schema.tables, `Replica ${scope.id}`));
  const beginning = beginningOf(scope, from);
  return follow(scope, { beginning, wanted, integers, signal });
}

function beginningOf({ store, positions }: Scope, from: string): Beginning | ChangeCursor | undefined {
  if (from === 'beginning') return undefined;
  if (from !== 'now') return decodeCursor(from);
  const { vector, partial, position } = store.state();
  return { generation: position.generation, seq: positions.passed + 1, vector, partial };
}

interface Following {
  readonly beginning: Beginning | ChangeCursor | undefined;
  readonly wanted: ReadonlySet<string> | undefined;
  readonly integers: Integers;
  readonly signal: AbortSignal | undefined;
}

async function* follow(
  scope: Scope,
  { beginning, wanted, integers, signal: given }: Following,
): AsyncGenerator<CommittedChange, void, undefined> {
  const { closing, clock, limits, progress, store, id } = scope;
  const signal = given === undefined ? closing : AbortSignal.any([given, closing]);
  const opening = new Deadline(clock, limits.connectTimeoutMs, [signal], 'the log can be read');
  let start: ChangeCursor;
  let reader: LogReader;
  try {
    start = await startOf(scope, beginning, opening);
    reader = await openReader(scope, start, opening);
  } catch (error) {
    if (closing.aborted) return;
    throw error;
  } finally {
    opening.end();
  }
  const stream = new ChangeStream(start, {
    rules: () => intakeRules(scope),
    isMember: (origin) => origin === id || isKnownMember(scope, origin, store.state()),
    judgesCauses: true,
    keptBytes: limits.changeFeedBytes,
    tooLargeHint: 'Raise limits.changeFeedBytes, or read its rows with query() and go on from now.',
    isCommitted: (transaction) => counterOf(progress.vector, transaction.origin) >= transaction.counter,
  });
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  try {
    for (;;) {
      const entries = await nextApplied(scope, reader, signal);
      if (entries === undefined) return;
      for (const entry of entries) {
        const rejected = await rejectedIn(scope, entry);
        for (const change of stream.changesIn(entry, rejected, isWanted)) {
          const position = { generation: start.generation, seq: change.seq };
          yield { ...(integers === 'bigint' ? change : inNumbers(change)), position };
        }
      }
    }
  } finally {
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

/** undefined: the replica is closing. */
async function nextApplied(
  scope: Scope,
  reader: LogReader,
  signal: AbortSignal,
): Promise<readonly LogEntry[] | undefined> {
  const { positions, progress, closing } = scope;
  try {
    const entries = await reader.next({ ...READ, signal });
    const last = entries.at(-1)?.seq ?? 0;
    await progress.until(() => positions.passed >= last, {
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

async function startOf(
  { store, log }: Scope,
  beginning: Following['beginning'],
  deadline: Deadline,
): Promise<ChangeCursor> {
  if (beginning === undefined) {
    const { generation } = store.state().position;
    const { firstSeq } = await deadline.race(log.identity(deadline.signal));
    const start = { generation, seq: Math.max(1, firstSeq), vector: {}, skip: 0 };
    // Of what was trimmed nobody knows whose it was.
    return firstSeq > 1 ? { ...start, isPartial: true } : start;
  }
  if ('skip' in beginning) return beginning;
  const { generation, vector } = beginning;
  const seq = await beginningOfParts(log, beginning, deadline);
  return { generation, seq, vector, skip: 0 };
}

/** A big transaction whose parts are on their way will be committed after now: where its first part is. */
async function beginningOfParts(
  log: Log,
  { seq: fromSeq, vector, partial }: Beginning,
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
