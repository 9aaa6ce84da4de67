import {
  AGREED_LIMITS,
  type AgreedLimits,
  AntiphonError,
  assertInRange,
  checkOptions,
  DEFAULT_ROW_LIMITS,
} from '@antiphon/core';

/** Every bound of a replica. What happens at a bound is written beside it. */
export interface ReplicaLimits extends AgreedLimits {
  /** How often writes by other programs are looked for. */
  readonly pollMs: number;
  /** For NATS to answer at start, and for the cluster to come into being; LOG_UNAVAILABLE or TIMEOUT then. */
  readonly connectTimeoutMs: number;
  /** How long another replica under the same id may take to say so at start; it counts as absent then. */
  readonly duplicateCheckMs: number;
  /** For a write, retries included, when the caller names none; TIMEOUT or the last STORE_BUSY then. */
  readonly writeTimeoutMs: number;
  /** Writes of one group commit; more wait for the next group. */
  readonly writeGroup: number;
  /** Writes that wait; OVERLOADED then. */
  readonly waitingWrites: number;
  /** Of the log, applied in one transaction. */
  readonly applyEntries: number;
  readonly applyBytes: number;
  /** Longest uninterrupted piece of work of an apply. */
  readonly applySliceMs: number;
  /** A log message packs sealed messages up to this size when there is a backlog. */
  readonly packBytes: number;
  /** Sent and not yet acknowledged; the relay waits then. */
  readonly windowMessages: number;
  readonly windowBytes: number;
  /** Read from the outbox at once. */
  readonly pageBytes: number;
  readonly beatMs: number;
  /** A member that was silent for longer no longer keeps sealed messages from being pruned. */
  readonly memberSilenceLimitMs: number;
  /** Messages kept in quarantine (in the database), and their bytes; more are only counted. */
  readonly quarantinedMessages: number;
  readonly quarantinedBytes: number;
  /**
   * A member of the in-sync set that is silent, or behind, for longer is taken out of it; it returns when it
   * has caught up.
   */
  readonly inSyncLagMs: number;
  /** How long a start waits until this replica is in the in-sync set; it goes on without, and joins later. */
  readonly inSyncJoinMs: number;
  /** Clocks, and times of changes, that are further from the log's clock are alarmed. */
  readonly clockAlarmMs: number;
  /**
   * A machine whose clock is further ahead of the log's gives no times: writes end with CLOCK_SKEW until it
   * is set, and what other programs wrote waits in the outbox. It bounds for how long a replica may win over
   * later changes of others. More than half of `clockRefusalMs` counts as that half: what is given a time
   * must not be refused by others.
   */
  readonly maxClockSkewMs: number;
  /** For a query, its waiting included, when the caller names no time; TIMEOUT then, and the query is ended. */
  readonly queryTimeoutMs: number;
  /** Rows of a query's result when the caller names no limit; BAD_SQL beyond it. */
  readonly queryRows: number;
  /** Bytes of a query's result, about; BAD_SQL beyond it. */
  readonly queryBytes: number;
  /** For the checksums of all tables, and for one page of row digests; TIMEOUT then. */
  readonly checksumTimeoutMs: number;
  /** Changes of one transaction in parts that a change feed holds in memory; MESSAGE_TOO_LARGE then. */
  readonly changeFeedBytes: number;
  /** For `close` altogether; what still runs is left behind. */
  readonly closeTimeoutMs: number;
}

export const DEFAULT_LIMITS: ReplicaLimits = {
  pollMs: 10,
  connectTimeoutMs: 10_000,
  duplicateCheckMs: 500,
  writeTimeoutMs: 10_000,
  writeGroup: 256,
  waitingWrites: 4096,
  applyEntries: 512,
  // More gains nothing, and rows that live longer than a young collection cost a tenth of the throughput.
  applyBytes: 512 * 1024,
  applySliceMs: 10,
  packBytes: 180 * 1024,
  windowMessages: 256,
  windowBytes: 4 * 1024 * 1024,
  pageBytes: 1024 * 1024,
  beatMs: 1000,
  memberSilenceLimitMs: 24 * 3600 * 1000,
  quarantinedMessages: 200_000,
  quarantinedBytes: 256 * 1024 * 1024,
  inSyncLagMs: 3000,
  inSyncJoinMs: 5000,
  clockAlarmMs: 60_000,
  maxClockSkewMs: 5 * 60_000,
  clockRefusalMs: 24 * 3600 * 1000,
  ...DEFAULT_ROW_LIMITS,
  queryTimeoutMs: 30_000,
  queryRows: 10_000,
  queryBytes: 32 * 1024 * 1024,
  checksumTimeoutMs: 600_000,
  changeFeedBytes: 64 * 1024 * 1024,
  closeTimeoutMs: 5000,
};

/** Throws BAD_OPTION for a limit that is not a positive number, or out of its range. */
export function resolveLimits(given: Partial<ReplicaLimits> = {}): ReplicaLimits {
  checkOptions(given, DEFAULT_LIMITS as unknown as Readonly<Record<string, unknown>>, 'limits');
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) continue;
    throw new AntiphonError('BAD_OPTION', `limits.${name} is ${String(value)}; give a number above 0`);
  }
  for (const name of AGREED_LIMITS) assertInRange(name, given[name]);
  return { ...DEFAULT_LIMITS, ...given };
}
