import { AntiphonError, type QueryResult } from '@antiphon/core';
import { Deadline } from './deadline.js';
import type { Scope } from './scope.js';
import { isReached, parseSessionToken, type SessionToken } from './session.js';
import type { Params } from './statement.js';
import { needsSync } from './writer.js';

/**
 * What a read promises. `any`: this database as it is. `session`: at least what `after` stands for (read your writes, monotonic
 * reads). `strong`: everything that was acknowledged anywhere before the call (linearizable); synchronous clusters, or the one
 * writer of a primary-replica cluster.
 */
export type Consistency = 'any' | 'session' | 'strong';

export interface QueryOptions {
  /** The first so many rows; all when absent. */
  readonly maxRows?: number;
  readonly signal?: AbortSignal;
  /** 'any' when absent. */
  readonly consistency?: Consistency;
  /** With 'session': the `position` of a write or of what was read before. */
  readonly after?: SessionToken;
  /** For the waiting of 'session' and 'strong'; TIMEOUT then. 5000 when absent. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5000;

/** Throws BAD_SQL, BAD_OPTION, TIMEOUT, LOG_UNAVAILABLE. */
export async function read(
  scope: Scope,
  sql: string,
  params: Params,
  options: QueryOptions,
): Promise<QueryResult> {
  await waitFor(scope, options);
  const { maxRows, signal } = options;
  return scope.store.query(sql, params, {
    ...(maxRows !== undefined && { maxRows }),
    ...(signal && { signal }),
  });
}

async function waitFor(scope: Scope, options: QueryOptions): Promise<void> {
  const { consistency = 'any', after, timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  if (after !== undefined && consistency !== 'session') {
    throw new AntiphonError('BAD_OPTION', "`after` goes with consistency 'session'");
  }
  if (consistency === 'any') return;
  if (consistency === 'strong') return strong(scope, timeoutMs, signal);
  if (consistency !== 'session') {
    throw new AntiphonError(
      'BAD_OPTION',
      `consistency is ${String(consistency)}; give 'any', 'session' or 'strong'`,
    );
  }
  if (after === undefined) {
    throw new AntiphonError(
      'BAD_OPTION',
      "consistency 'session' needs `after`, the `position` of an earlier write",
    );
  }
  const token = parseSessionToken(after);
  const { store, progress, clock, closing } = scope;
  const what = 'what the session has seen is applied here';
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], what);
  try {
    const limit = { timeoutMs, what, signal: deadline.signal };
    await progress.until(() => isReached(token, store.state(), progress.seq), limit);
  } finally {
    deadline.end();
  }
}

async function strong(
  { sync, role, clock, closing }: Scope,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (sync === undefined) {
    // The only database that is written to shows everything that was ever acknowledged.
    if (role === 'primary') return;
    throw needsSync("consistency 'strong' on this replica");
  }
  const what = 'the log has taken the entry that a strong read needs';
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], what);
  try {
    await sync.barrier.pass(deadline);
  } finally {
    deadline.end();
  }
}
