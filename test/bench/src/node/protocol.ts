import type { FailoverOptions } from '@antiphon/core';
import type { Topology, UpdateOptions } from '@antiphon/replica';

export interface StartRequest {
  readonly cluster: string;
  readonly id: string;
  readonly servers: string;
  readonly file: string;
  readonly topology: Topology;
  readonly update?: UpdateOptions;
  readonly failover?: FailoverOptions;
}

/**
 * When something began and ended, by the monotonic clock of the machine, which all its processes
 * share (Linux).
 */
export interface Span {
  readonly startedNs: bigint;
  readonly endedNs: bigint;
  /** The writer's counter afterwards. */
  readonly counter: number;
}

/** Single-row transactions, each of which waits for its acknowledgements. */
export interface SyncWrites {
  readonly firstId: number;
  readonly transactions: number;
  readonly writers: number;
  /**
   * So many of them, 0 to 1, add 1 to the `quantity` of a hot row, any of these, instead of
   * inserting a row.
   */
  readonly hotShare: number;
  readonly hotIds: readonly number[];
}

export interface SyncWritten {
  readonly startedNs: bigint;
  readonly endedNs: bigint;
  readonly inserted: number;
  readonly updated: number;
  /** Writes that certification rejected as often as they were tried. */
  readonly conflicts: number;
  /** Every single rejection by certification; absent when the replica does not count them. */
  readonly rejections?: number;
  /** Of committed writes. */
  readonly latenciesMs: Float64Array;
}

/** What a writer that calls `execute` again and again, and handles no error, has met. */
export interface Written {
  readonly committed: number;
  /** What callers got instead of a result. */
  readonly failures: readonly string[];
  readonly failed: number;
  /** Of one write, from its call to its answer. */
  readonly longestMs: number;
}

/** What a bench asks of a replica process. */
export interface NodeProtocol {
  /** Resolves once the replica has caught up; the span of that. */
  start(request: StartRequest): Promise<Span>;
  /** Inserts rows in transactions of that size, one after the other. */
  load(request: {
    readonly firstId: number;
    readonly rows: number;
    readonly rowsPerTransaction: number;
  }): Promise<Span>;
  /** Inserts one row a transaction, from so many concurrent writers. */
  singles(request: {
    readonly firstId: number;
    readonly transactions: number;
    readonly writers: number;
  }): Promise<Span>;
  /** Resolves once these replicas are in sync, as far as this one knows. */
  inSync(request: { readonly members: readonly string[]; readonly timeoutMs: number }): Promise<void>;
  syncWrites(request: SyncWrites): Promise<SyncWritten>;
  /** Ends `syncWrites` before all are written. */
  enough(): Promise<void>;
  /** When this replica had applied the origin's transactions up to the counter. */
  reached(request: {
    readonly origin: string;
    readonly counter: number;
    readonly timeoutMs: number;
  }): Promise<bigint>;
  /** The highest counter of the origin that is applied here now. */
  applied(request: { readonly origin: string }): Promise<number>;
  /** Prepares for `visible`. */
  watch(): Promise<void>;
  /** When a plain SQLite connection of this process first saw the row. */
  visible(request: { readonly id: number; readonly timeoutMs: number }): Promise<bigint>;
  /** Single-row writes, from so many concurrent writers, until `endWrites`. */
  beginWrites(request: {
    readonly firstId: number;
    readonly writers: number;
    readonly pauseMs: number;
  }): Promise<void>;
  /** When the first of them was answered that this primary has written; it is waited for. */
  firstWritten(request: { readonly origin: string; readonly timeoutMs: number }): Promise<bigint>;
  /** Those that are under way are waited for. */
  endWrites(): Promise<Written>;
  noticed(): Promise<Noticed>;
  /** Milliseconds, as the replica measured it: for so long, writes were held. */
  switchOver(request: { readonly to: string }): Promise<number>;
  stop(): Promise<void>;
}

/** What a replica has noticed so far of who is the primary. */
export interface Noticed {
  readonly epochs: readonly EpochRead[];
  /** When it found that the primary has gone, and somebody must take its place. */
  readonly electionsNs: readonly bigint[];
}

export interface EpochRead {
  readonly number: number;
  readonly primary: string;
  readonly why: string;
  readonly atNs: bigint;
}

/** A request or its answer on the IPC channel. */
export interface Call {
  readonly call: number;
  readonly method: string;
  readonly request: unknown;
}

export type Answer =
  { readonly call: number; readonly value: unknown } | { readonly call: number; readonly error: string };
