import type { Clock, LogEntry, LogIdentity, TransactionTrace } from '@antiphon/core';

export interface StreamOptions {
  readonly clock: Clock;
  readonly dedupeWindowMs: number;
}

const MICROSECOND_MS = 1 / 1000;

export type Stored =
  | { readonly type: 'stored'; readonly seq: number; readonly duplicate: boolean }
  | { readonly type: 'not-last'; readonly lastSeq: number; readonly lastSeqOfOrigin: number };

export interface StreamAppend {
  readonly origin: string;
  readonly id: string;
  readonly data: Uint8Array;
  readonly expectedLastSeq?: number;
  readonly expectedLastSeqOfOrigin?: number;
  /** The id of the log's last entry, of whatever origin (docs/decisions/0010). */
  readonly expectedLastId?: string;
  readonly traces?: readonly TransactionTrace[];
}

/**
 * The server's side of the in-memory log: entries by number, the dedupe window, the durable
 * consumers' floors.
 */
export class Stream {
  readonly durables = new Map<string, number>();
  readonly #remembered = new Map<string, { readonly seq: number; readonly atMs: number }>();
  /** Beside the entries: only readers that ask for them are told. */
  readonly #traces = new Map<number, readonly TransactionTrace[]>();
  #entries: LogEntry[] = [];
  /** Of the entries, in their order. */
  #ids: string[] = [];
  #firstSeq = 1;
  /** Of the newest entry there ever was, also of one that is lost: no two have the same time. */
  #storedAtMs = 0;

  constructor(
    readonly generation: string,
    private readonly options: StreamOptions,
  ) {}

  get firstSeq(): number {
    return this.#firstSeq;
  }

  get lastSeq(): number {
    return this.#firstSeq + this.#entries.length - 1;
  }

  identity(): LogIdentity {
    return { generation: this.generation, firstSeq: this.#firstSeq, lastSeq: this.lastSeq };
  }

  append(request: StreamAppend): Stored {
    this.#forgetOld();
    const earlier = this.#remembered.get(request.id);
    // Before the expected sequence is looked at, as JetStream does.
    if (earlier !== undefined) return { type: 'stored', seq: earlier.seq, duplicate: true };
    if (!this.#isAsExpected(request)) {
      const seq = this.#ownSeq(request);
      if (seq !== undefined) return { type: 'stored', seq, duplicate: true };
      return { type: 'not-last', lastSeq: this.lastSeq, lastSeqOfOrigin: this.#lastSeqOf(request.origin) };
    }
    const seq = this.lastSeq + 1;
    this.#storedAtMs = Math.max(this.options.clock.nowMs(), this.#storedAtMs + MICROSECOND_MS);
    const storedAtMs = this.#storedAtMs;
    this.#entries.push({ seq, origin: request.origin, data: request.data.slice(), storedAtMs });
    if (request.traces !== undefined) this.#traces.set(seq, request.traces);
    this.#ids.push(request.id);
    this.#remembered.set(request.id, { seq, atMs: this.options.clock.monotonicMs() });
    return { type: 'stored', seq, duplicate: false };
  }

  /** As if the dedupe window had passed. */
  forget(id: string): void {
    this.#remembered.delete(id);
  }

  get(seq: number): LogEntry | undefined {
    return this.#entries[seq - this.#firstSeq];
  }

  lastOf(origin: string): LogEntry | undefined {
    return this.#entries.findLast((entry) => entry.origin === origin);
  }

  /** As a question for one entry is answered. */
  withAttempt(entry: LogEntry | undefined): LogEntry | undefined {
    const attempt = entry && this.#ids[entry.seq - this.#firstSeq];
    return entry && { ...entry, ...(attempt === undefined ? {} : { attempt }) };
  }

  withTraces(entry: LogEntry): LogEntry {
    const traces = this.#traces.get(entry.seq);
    return traces === undefined ? entry : { ...entry, traces };
  }

  /** From `fromSeq` on, within the limits, but one at least if there is any. */
  range(fromSeq: number, maxEntries: number, maxBytes: number): readonly LogEntry[] {
    const taken: LogEntry[] = [];
    let bytes = 0;
    for (let seq = fromSeq; taken.length < maxEntries; seq++) {
      const entry = this.get(seq);
      if (entry === undefined) break;
      bytes += entry.data.length;
      if (taken.length > 0 && bytes > maxBytes) break;
      taken.push(entry);
    }
    return taken;
  }

  all(): readonly LogEntry[] {
    return this.#entries;
  }

  trim(firstSeq: number): void {
    const first = Math.min(Math.max(firstSeq, this.#firstSeq), this.lastSeq + 1);
    this.#entries = this.#entries.slice(first - this.#firstSeq);
    this.#ids = this.#ids.slice(first - this.#firstSeq);
    this.#firstSeq = first;
    for (const seq of this.#traces.keys()) if (seq < first) this.#traces.delete(seq);
  }

  /** The newest entries are gone, as after a power cut of a server that had not fsynced them. */
  loseTail(count: number): void {
    this.#entries = this.#entries.slice(0, Math.max(0, this.#entries.length - count));
    this.#ids = this.#ids.slice(0, this.#entries.length);
    for (const [id, { seq }] of this.#remembered) if (seq > this.lastSeq) this.#remembered.delete(id);
    for (const seq of this.#traces.keys()) if (seq > this.lastSeq) this.#traces.delete(seq);
  }

  #lastSeqOf(origin: string): number {
    return this.lastOf(origin)?.seq ?? 0;
  }

  #isAsExpected(request: StreamAppend): boolean {
    const { origin, expectedLastSeq, expectedLastSeqOfOrigin, expectedLastId } = request;
    return (
      (expectedLastSeq === undefined || expectedLastSeq === this.lastSeq) &&
      (expectedLastSeqOfOrigin === undefined || expectedLastSeqOfOrigin === this.#lastSeqOf(origin)) &&
      (expectedLastId === undefined || expectedLastId === this.#ids.at(-1))
    );
  }

  /**
   * Where the entry itself is, stored right after what it expects: its id may be forgotten since.
   */
  #ownSeq({ origin, id, expectedLastSeq, expectedLastSeqOfOrigin }: StreamAppend): number | undefined {
    const follower =
      expectedLastSeqOfOrigin === undefined
        ? this.get((expectedLastSeq ?? this.lastSeq) + 1)
        : this.#entries.find((entry) => entry.origin === origin && entry.seq > expectedLastSeqOfOrigin);
    return follower !== undefined && this.#ids[follower.seq - this.#firstSeq] === id
      ? follower.seq
      : undefined;
  }

  #forgetOld(): void {
    const limitMs = this.options.clock.monotonicMs() - this.options.dedupeWindowMs;
    // Insertion order is time order.
    for (const [id, { atMs }] of this.#remembered) {
      if (atMs > limitMs) break;
      this.#remembered.delete(id);
    }
  }
}
