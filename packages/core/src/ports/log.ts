import type { AntiphonError } from '../errors/antiphon-error.js';
import type { TransactionTrace } from '../tracing/trace-context.js';

/**
 * What the log is, and how far it goes. `firstSeq` is the oldest entry kept; `lastSeq` 0 means none
 * was ever written.
 */
export interface LogIdentity {
  readonly generation: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /**
   * The server that answers for a replicated log. Another one may lack entries that the one before
   * it had (I14).
   */
  readonly leader?: string;
  /**
   * How long ago that one last heard most of the others, in milliseconds: what it says may be as
   * old. Absent: it is as of the answer.
   */
  readonly leaderSilentMs?: number;
  /**
   * How many entries between the first and the last are gone: whoever has not read them cannot
   * pass. Absent: none.
   */
  readonly removed?: number;
}

export interface LogEntry {
  readonly seq: number;
  /** The last token of the subject; not verified against the payload. */
  readonly origin: string;
  readonly data: Uint8Array;
  /**
   * When the log stored it, milliseconds since 1970 by the log's own clock, with their
   * microseconds: no other entry under this number has the same time (I14). The same whoever reads
   * it, and how.
   */
  readonly storedAtMs: number;
  /** `AppendRequest.id` of the append that was stored. Only `get` and `lastOf` tell it. */
  readonly attempt?: string;
  /** As the writer gave them. Only a reader that was opened with `traced` tells them. */
  readonly traces?: readonly TransactionTrace[];
}

export interface AppendRequest {
  /** A replica's id, or one of Antiphon's own records: `_` and letters. */
  readonly origin: string;
  /**
   * Unique for this attempt at this content: the log drops a repetition that it remembers
   * (docs/decisions/0008).
   */
  readonly id: string;
  /** One or more encoded batches, back to back. At most `LogLimits.maxMessageBytes`. */
  readonly data: Uint8Array;
  /** Refused unless the log's last sequence is exactly this one. For logs with a single writer. */
  readonly expectedLastSeq?: number;
  /**
   * Refused unless the newest entry of this origin is exactly this one; 0: there is none. Of two
   * appends with the same expectation at most one is ever stored, however late it arrives.
   */
  readonly expectedLastSeqOfOrigin?: number;
  /** Above 0. Ends as `unknown` after it; the log's own limit when absent or shorter. */
  readonly timeoutMs?: number;
  /**
   * Spans that readers continue, stored beside the data. As many as fit into what the data leaves
   * of `maxMessageBytes`, 64 at most; the others are left out.
   */
  readonly traces?: readonly TransactionTrace[];
}

/**
 * `stored`: in the log at `seq` (`duplicate`: by an earlier try). `refused`: certainly not stored
 * by this call. `unknown`: no answer; it may be stored, read the log to find out.
 */
export type AppendResult =
  | { readonly type: 'stored'; readonly seq: number; readonly duplicate: boolean }
  | {
      readonly type: 'refused';
      readonly error: AntiphonError;
      /** With `expectedLastSeq`: what the log's last sequence is instead. */
      readonly lastSeq?: number;
      /** With `expectedLastSeqOfOrigin`: what the origin's last sequence is instead. */
      readonly lastSeqOfOrigin?: number;
    }
  | { readonly type: 'unknown'; readonly error: AntiphonError };

export interface LogReader {
  /**
   * The next entries in log order, at least one; waits for it. Rejects with LOG_REPLACED when the
   * log is not what it was, ABORTED, or CLOSED. A lost connection is not an error: it waits and
   * goes on without loss or repetition.
   */
  next(limits: { maxEntries: number; maxBytes: number; signal?: AbortSignal }): Promise<readonly LogEntry[]>;
  /**
   * Everything up to `seq` is committed in the database; tells the durable consumer. Never waits,
   * never throws.
   */
  ack(seq: number): void;
  close(): Promise<void>;
}

export type LogConnection = 'connected' | 'disconnected' | 'closed';

/**
 * The ordered, durable, shared log of one cluster. Appends of one origin are stored in the order of
 * the calls unless one is lost; a later one can be stored although an earlier one was lost (leader
 * change), so callers go back to the first one without an answer and send everything from there
 * again.
 */
export interface Log {
  readonly maxMessageBytes: number;
  /**
   * Creates the log with its identity record if there is none; otherwise reads it. LOG_UNAVAILABLE,
   * LOG_REPLACED.
   */
  open(options: { readonly create: boolean; readonly signal?: AbortSignal }): Promise<LogIdentity>;
  /**
   * As it is now, asked freshly. LOG_UNAVAILABLE when there is no answer, LOG_REPLACED when there
   * is no such log.
   */
  identity(signal?: AbortSignal): Promise<LogIdentity>;
  /**
   * The log's own clock, asked freshly: milliseconds since 1970, at some moment between the call
   * and its answer. It is the clock that `storedAtMs` is taken from. LOG_UNAVAILABLE, LOG_REPLACED,
   * ABORTED.
   */
  timeMs(signal?: AbortSignal): Promise<number>;
  /** Sends without waiting; `settled` is called exactly once, never inside the call itself. */
  append(request: AppendRequest, settled: (result: AppendResult) => void): void;
  /** The newest entry of an origin, or undefined. Never stale. */
  lastOf(origin: string, signal?: AbortSignal): Promise<LogEntry | undefined>;
  /** Entry by number; undefined when it was trimmed or does not exist. Never stale. */
  get(seq: number, signal?: AbortSignal): Promise<LogEntry | undefined>;
  /**
   * Entries from `fromSeq` on, through a durable consumer of that name when given (recreated when
   * it is gone or disagrees with `fromSeq`), else an ephemeral one. LOG_REPLACED when `generation`
   * is not the log's, or when `fromSeq` was trimmed.
   */
  read(options: {
    readonly generation: string;
    readonly fromSeq: number;
    readonly durable?: string;
    /** Also tells `LogEntry.traces`, which costs a look at the headers of every entry. */
    readonly traced?: boolean;
  }): Promise<LogReader>;
  /**
   * Forgets the durable consumer of that name, also where there is none. LOG_UNAVAILABLE,
   * ACCESS_DENIED.
   */
  forget(durable: string): Promise<void>;
  readonly connection: LogConnection;
  /** Called on every change; returns how to stop listening. */
  onConnection(listener: (connection: LogConnection) => void): () => void;
  close(): Promise<void>;
}
