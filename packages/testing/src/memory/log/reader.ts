import { AntiphonError, type LogEntry, type LogReader } from '@antiphon/core';
import { closed, type Link } from '../link.js';
import type { MemoryLog } from './memory-log.js';

export interface ReadOptions {
  readonly generation: string;
  readonly fromSeq: number;
  readonly durable?: string;
  readonly traced?: boolean;
}

/** Reads on from a place in a `MemoryLog`; waits while the connection is broken. */
export class MemoryLogReader implements LogReader {
  #nextSeq: number;
  #closed = false;
  readonly #wakers = new Set<() => void>();

  constructor(
    private readonly log: MemoryLog,
    private readonly link: Link,
    private readonly options: ReadOptions,
  ) {
    this.#nextSeq = options.fromSeq;
  }

  /**
   * On the server: looks whether this place exists, and makes the durable consumer agree with it.
   */
  attach(): void {
    this.#check();
    const { durable, fromSeq } = this.options;
    if (durable !== undefined) this.log.stream.durables.set(durable, fromSeq - 1);
  }

  async next(limits: {
    maxEntries: number;
    maxBytes: number;
    signal?: AbortSignal;
  }): Promise<readonly LogEntry[]> {
    for (;;) {
      if (limits.signal?.aborted === true) throw aborted(limits.signal);
      if (this.#closed || this.link.state === 'closed') return this.#ended();
      if (this.link.state === 'connected') {
        this.#check();
        if (this.log.stream.lastSeq >= this.#nextSeq) {
          await this.#transfer();
          const entries = this.#take(limits.maxEntries, limits.maxBytes);
          if (entries.length > 0) return entries;
          continue;
        }
      }
      await this.#change(limits.signal);
    }
  }

  ack(seq: number): void {
    const { durable } = this.options;
    if (durable === undefined || this.#closed || this.link.state !== 'connected') return;
    this.link.send(() => {
      if (!this.log.exists || this.log.stream.generation !== this.options.generation) return;
      const floor = this.log.durableFloor(durable);
      if (floor !== undefined && seq > floor) this.log.stream.durables.set(durable, seq);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of [...this.#wakers]) wake();
  }

  #check(): void {
    const { generation, firstSeq, lastSeq } = this.log.stream;
    if (generation !== this.options.generation)
      throw replaced(`it is ${generation} now, not ${this.options.generation}`);
    if (this.#nextSeq < firstSeq)
      throw replaced(`entry ${this.#nextSeq} was trimmed, the first is ${firstSeq}`);
    if (this.#nextSeq > lastSeq + 1)
      throw replaced(`it ends at ${lastSeq}, entry ${this.#nextSeq - 1} is gone`);
  }

  /** A process that has ended is never answered. */
  #ended(): Promise<never> {
    if (this.link.killed) return new Promise(() => undefined);
    throw closed('read the log');
  }

  #take(maxEntries: number, maxBytes: number): readonly LogEntry[] {
    if (this.#closed || this.link.state !== 'connected') return [];
    this.#check();
    const entries = this.log.stream.range(this.#nextSeq, maxEntries, maxBytes);
    this.#nextSeq += entries.length;
    if (this.options.traced !== true) return entries;
    return entries.map((entry) => this.log.stream.withTraces(entry));
  }

  #transfer(): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.link.onState(() => done());
      const done = (): void => {
        stop();
        resolve();
      };
      this.link.receive(done);
    });
  }

  #change(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const stops = [this.log.onChange(() => wake()), this.link.onState(() => wake())];
      const wake = (): void => {
        for (const stop of stops) stop();
        signal?.removeEventListener('abort', wake);
        this.#wakers.delete(wake);
        if (!this.link.killed) resolve();
      };
      this.#wakers.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}

function aborted(signal: AbortSignal): AntiphonError {
  return new AntiphonError('ABORTED', 'The caller gave up waiting for the log.', { cause: signal.reason });
}

function replaced(how: string): AntiphonError {
  return new AntiphonError('LOG_REPLACED', `The log is not what it was: ${how}. Find out who changed it.`);
}
