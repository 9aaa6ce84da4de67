import {
  AGREED_LIMITS,
  type AgreedLimits,
  AntiphonError,
  assertInRange,
  checkOptions,
  DEFAULT_ROW_LIMITS,
} from '@antiphon/core';

/**
 * Every bound of a replica, and what happens there. Times are milliseconds, sizes bytes; all are
 * above 0.
 */
export interface ReplicaLimits extends AgreedLimits {
  /**
   * How often the database is asked whether other programs have written to it.
   * @defaultValue 10
   */
  readonly pollMs: number;
  /**
   * How long a start waits for NATS to answer, and for the cluster to be created; LOG_UNAVAILABLE
   * or TIMEOUT after that.
   * @defaultValue 10 000
   */
  readonly connectTimeoutMs: number;
  /**
   * How long a start waits for another process under the same id to answer; after that there is
   * none.
   * @defaultValue 500
   */
  readonly duplicateCheckMs: number;
  /**
   * How long a write may take, retries included, when its caller says nothing; TIMEOUT or the last
   * STORE_BUSY after that.
   * @defaultValue 10 000
   */
  readonly writeTimeoutMs: number;
  /**
   * How long a write may keep this process, which does nothing else meanwhile. A primary with
   * automatic failover keeps its lease for so long, and `antiphon run` ends the process after it.
   * @defaultValue 60 000
   */
  readonly blockedMs: number;
  /**
   * Maximum writes committed together; more wait for the next group. A group is smaller when time
   * is up: it begins no more functions after 50 ms, in which the process does nothing else; and
   * when it is full, in a synchronous cluster its message, in an asynchronous one 2 MiB.
   * @defaultValue 256
   */
  readonly writeGroup: number;
  /**
   * Maximum writes that wait; OVERLOADED beyond it.
   * @defaultValue 4096
   */
  readonly waitingWrites: number;
  /**
   * Maximum log entries applied in one database transaction.
   * @defaultValue 512
   */
  readonly applyEntries: number;
  /**
   * Maximum bytes of log entries applied in one database transaction.
   * @defaultValue 512 KiB
   */
  readonly applyBytes: number;
  /**
   * Longest uninterrupted piece of work while entries are applied; other work of the process runs
   * in between.
   * @defaultValue 10
   */
  readonly applySliceMs: number;
  /**
   * Maximum size of a log message that packs several sealed ones, when there is a backlog.
   * @defaultValue 180 KiB
   */
  readonly packBytes: number;
  /**
   * Maximum messages sent and not acknowledged by the log; the relay waits then.
   * @defaultValue 256
   */
  readonly windowMessages: number;
  /**
   * Maximum bytes sent and not acknowledged by the log; the relay waits then.
   * @defaultValue 4 MiB
   */
  readonly windowBytes: number;
  /**
   * How much is read from the outbox at once.
   * @defaultValue 1 MiB
   */
  readonly pageBytes: number;
  /**
   * Interval of heartbeats, and of looks at the database file.
   * @defaultValue 1000
   */
  readonly beatMs: number;
  /**
   * How long sealed messages are kept for a member that is silent.
   * @defaultValue 24 hours
   */
  readonly memberSilenceLimitMs: number;
  /**
   * Maximum messages kept in quarantine, in the database; more are only counted.
   * @defaultValue 200 000
   */
  readonly quarantinedMessages: number;
  /**
   * Maximum bytes kept in quarantine, in the database; more are only counted.
   * @defaultValue 256 MiB
   */
  readonly quarantinedBytes: number;
  /**
   * How long a member of the in-sync set may be silent, or behind, before it is taken out of the
   * set; it returns when it has caught up.
   * @defaultValue 3000
   */
  readonly inSyncLagMs: number;
  /**
   * How long a start waits until this replica is in the in-sync set; it goes on without, and joins
   * later.
   * @defaultValue 5000
   */
  readonly inSyncJoinMs: number;
  /**
   * Difference from the log's clock at which a clock, or the time of a change, is alarmed.
   * @defaultValue 60 000
   */
  readonly clockAlarmMs: number;
  /**
   * How far this machine's clock may be ahead of the log's. Beyond it writes end with CLOCK_SKEW
   * until the clock is set, and what other programs wrote waits in the outbox. It bounds for how
   * long a replica may win over later changes of others. More than half of `clockRefusalMs` counts
   * as that half.
   * @defaultValue 5 minutes
   */
  readonly maxClockSkewMs: number;
  /**
   * How long a query may take, its waiting included, when its caller says nothing; TIMEOUT after
   * that, and the query is ended.
   * @defaultValue 30 000
   */
  readonly queryTimeoutMs: number;
  /**
   * Maximum rows of a query's result when its caller says nothing; BAD_SQL beyond it.
   * @defaultValue 10 000
   */
  readonly queryRows: number;
  /**
   * Maximum bytes of a query's result, about; BAD_SQL beyond it.
   * @defaultValue 32 MiB
   */
  readonly queryBytes: number;
  /**
   * How long the checksums of all tables, or one page of row digests, may take; TIMEOUT after that.
   * @defaultValue 10 minutes
   */
  readonly checksumTimeoutMs: number;
  /**
   * Maximum bytes of one transaction in parts that a change stream holds in memory;
   * MESSAGE_TOO_LARGE beyond it.
   * @defaultValue 64 MiB
   */
  readonly changeFeedBytes: number;
  /**
   * How long `close` may take altogether; what still runs is left behind.
   * @defaultValue 5000
   */
  readonly closeTimeoutMs: number;
}

/** The limits of a replica that names none. */
export const DEFAULT_LIMITS: ReplicaLimits = {
  pollMs: 10,
  connectTimeoutMs: 10_000,
  duplicateCheckMs: 500,
  writeTimeoutMs: 10_000,
  blockedMs: 60_000,
  writeGroup: 256,
  waitingWrites: 4096,
  applyEntries: 512,
  // More gains nothing, and rows that live longer than a young collection cost a tenth of the
  // throughput.
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
    throw new AntiphonError(
      'BAD_OPTION',
      `\`limits.${name}\` is ${typeof value === 'number' ? String(value) : JSON.stringify(value)}. Give a number above 0.`,
    );
  }
  for (const name of AGREED_LIMITS) assertInRange(name, given[name]);
  return { ...DEFAULT_LIMITS, ...given };
}
