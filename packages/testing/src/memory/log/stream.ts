import type { Clock, LogEntry, LogIdentity } from '@antiphon/core';

export interface StreamOptions {
  readonly clock: Clock;
  readonly dedupeWindowMs: number;
}

export type Stored =
  | { readonly type: 'stored'; readonly seq: number; readonly duplicate: boolean }
  | { readonly type: 'not-last'; readonly lastSeq: number };

export interface StreamAppend {
  readonly origin: string;
  readonly id: string;
  readonly data: Uint8Array;
  readonly expectedLastSeq?: number;
}

/** The server's side of the in-memory log: entries by number, the dedupe window, the durable consumers' floors. */
export class Stream {
  readonly durables = new Map<string, number>();
  readonly #remembered = new Map<string, { readonly seq: number; readonly atMs: number }>();
  #entries: LogEntry[] = [];
  #firstSeq = 1;

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
    const expected = request.expectedLastSeq;
    if (expected !== undefined && expected !== this.lastSeq)
      return { type: 'not-last', lastSeq: this.lastSeq };
    const seq = this.lastSeq + 1;
    const storedAtMs = this.options.clock.nowMs();
    this.#entries.push({ seq, origin: request.origin, data: request.data.slice(), storedAtMs });
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
    this.#firstSeq = first;
  }

  /** The newest entries are gone, as after a power cut of a server that had not fsynced them. */
  loseTail(count: number): void {
    this.#entries = this.#entries.slice(0, Math.max(0, this.#entries.length - count));
    for (const [id, { seq }] of this.#remembered) if (seq > this.lastSeq) this.#remembered.delete(id);
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
