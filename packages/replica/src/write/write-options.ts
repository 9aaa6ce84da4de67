import type { Context } from '@opentelemetry/api';
import type { AckLevel, OptionNames } from '@antiphon/core';

/** How long a write may take, and what it waits for. */
export interface WriteOptions {
  /**
   * How long the write may take, in milliseconds, retries of a busy or full database included.
   * A write that has not begun to run by then ends with TIMEOUT or with what was in its way, and
   * nothing is written. One that has begun ends as its database decides; in a synchronous cluster
   * with OUTCOME_UNKNOWN while the log may hold it, and with the acknowledgements so far once it is
   * committed.
   * @defaultValue `limits.writeTimeoutMs`, 10 000
   */
  readonly timeoutMs?: number;
  /**
   * Ends the write with ABORTED as long as its function has not begun to run, and where it would
   * have to run again: nothing is written then. Once it runs, and while the log may hold it, the
   * signal changes nothing, and the call tells what became of the write.
   */
  readonly signal?: AbortSignal;
  /**
   * Which databases the write waits for; only in a synchronous cluster.
   * @defaultValue `acks` of the cluster
   */
  readonly acks?: AckLevel;
}

export const WRITE_OPTIONS: OptionNames<WriteOptions> = { timeoutMs: true, signal: true, acks: true };

/** How long `execute` may take, what it waits for, and which request it is. */
export interface ExecuteOptions extends WriteOptions {
  /**
   * In a cluster with `failover`: the name of this request, 1 to 200 printable ASCII characters,
   * best `newId()`. However often `execute` is called with it within an hour, on whichever
   * replicas, and whoever is the primary by then, it is written once; a later call gets the result
   * of the first one, with `repeated: true`, whatever its statements are: an id stands for one
   * write. Give one where the caller may crash before it has the answer, or call again after
   * OUTCOME_UNKNOWN. An id of `newId()` that is older than an hour is
   * refused; any other id is forgotten after that.
   * @defaultValue a new one where the request has to go to another replica
   */
  readonly requestId?: string;
}

export const EXECUTE_OPTIONS: OptionNames<ExecuteOptions> = { ...WRITE_OPTIONS, requestId: true };

/** What a mailbox is told beside the options: by another replica, or by a client of the cluster. */
export interface AskedRequest {
  /** By another replica, on behalf of its caller: it is not sent on. */
  readonly forwarded?: boolean;
  /** Of the newest epoch that the other replica knew. */
  readonly epoch?: number;
  /** Names the one call that it is asked for, however often, and through whichever replicas. */
  readonly call?: string;
  /** It was asked for this call before, and that may still be on its way. */
  readonly again?: boolean;
  /** So many primaries have lost their role while they had it. */
  readonly lostPrimaries?: number;
  /** Of the last of them: it is not counted again. */
  readonly lostEpoch?: number;
  /** Of this process, not of the message: the span that serves it. */
  readonly context?: Context;
}
