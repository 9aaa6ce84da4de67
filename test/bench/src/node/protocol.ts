import type { FailoverOptions } from '@antiphon/core';
import type { PublishOptions, Topology, UpdateOptions } from '@antiphon/replica';

export interface StartRequest {
  readonly cluster: string;
  readonly id: string;
  readonly servers: string;
  readonly file: string;
  readonly topology: Topology;
  readonly update?: UpdateOptions;
  readonly failover?: FailoverOptions;
  readonly publish?: PublishOptions;
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
  /** Where its HTTP server listens from now on. */
  serveHttp(): Promise<string>;
  /** Whether clients that spread their reads send any here. */
  serveReads(request: { readonly serves: boolean }): Promise<void>;
  /** When so much of the stream of published changes was stored, and how much that was. */
  published(request: {
    readonly seq: number;
    readonly timeoutMs: number;
  }): Promise<{ readonly seq: number; readonly atNs: bigint }>;
  stop(): Promise<void>;
}

/** Reads of one row by its key. */
export interface ReadLoad {
  readonly reads: number;
  readonly inFlight: number;
  /** They have the ids from 1 on. */
  readonly rows: number;
  /**
   * `balanced`: through `connect()`. `direct`: each asked of a replica by its name, in turns.
   * `http`: at `url`.
   */
  readonly how: 'balanced' | 'direct' | 'http';
  readonly replicas: readonly string[];
  readonly url?: string;
}

export interface ReadsDone {
  readonly seconds: number;
  /** Of the process that reads. */
  readonly cpuSeconds: number;
  readonly latenciesMs: Float64Array;
}

/** What a bench asks of a process that has no database. */
export interface ClientProtocol {
  connect(request: { readonly cluster: string; readonly servers: string }): Promise<void>;
  /** Resolves once so many replicas are eligible for a read. */
  sees(request: { readonly replicas: number }): Promise<void>;
  read(load: ReadLoad): Promise<ReadsDone>;
  /** Microseconds of processor time that the balancer alone takes for a read. */
  routing(request: { readonly reads: number; readonly replicas: number }): Promise<number>;
  /** To the published changes of this stream that come from now on. */
  subscribe(request: { readonly stream: string }): Promise<void>;
  /** When this message of the stream had arrived. */
  received(request: { readonly seq: number; readonly timeoutMs: number }): Promise<bigint>;
  /** When the change of the row with this id arrived. */
  arrived(request: { readonly id: number; readonly timeoutMs: number }): Promise<bigint>;
  /** The stream is deleted. */
  unsubscribe(request: { readonly stream: string }): Promise<void>;
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
