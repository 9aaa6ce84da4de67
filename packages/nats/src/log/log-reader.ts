import { abortError, AntiphonError, type LogEntry, type LogReader } from '@antiphon/core';
import { EntryFeed, type FeedDeps } from './entry-feed.js';
import { EntryQueue } from './entry-queue.js';

interface Waiting {
  readonly limits: { readonly maxEntries: number; readonly maxBytes: number };
  readonly resolve: (entries: readonly LogEntry[]) => void;
  readonly reject: (error: AntiphonError) => void;
}

/** The feed's entries, in a bounded queue, handed out to one caller at a time. */
export class NatsLogReader implements LogReader {
  readonly #queue = new EntryQueue();
  #feed: EntryFeed | undefined;
  #failure: AntiphonError | undefined;
  #waiting: Waiting | undefined;
  #waking = false;

  private constructor(private readonly onClose: (reader: NatsLogReader) => void) {}

  /** @throws AntiphonError LOG_REPLACED, LOG_UNAVAILABLE, LOG_REFUSED */
  static async open(
    deps: FeedDeps,
    fromSeq: number,
    onClose: (reader: NatsLogReader) => void,
  ): Promise<NatsLogReader> {
    const reader = new NatsLogReader(onClose);
    const sink = {
      queue: reader.#queue,
      push: (entry: LogEntry) => reader.#push(entry),
      failed: (error: AntiphonError) => reader.#fail(error),
    };
    reader.#feed = await EntryFeed.open(deps, sink, fromSeq);
    return reader;
  }

  next(limits: { maxEntries: number; maxBytes: number; signal?: AbortSignal }): Promise<readonly LogEntry[]> {
    const { signal } = limits;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (signal?.aborted === true) return Promise.reject(aborted(signal));
    if (this.#waiting !== undefined) {
      const message = 'next() is already waiting. Await it before the next call.';
      return Promise.reject(new AntiphonError('BAD_OPTION', message));
    }
    if (this.#queue.length > 0) return Promise.resolve(this.#take(limits));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.#waiting?.reject(aborted(signal));
      const done = (): void => {
        this.#waiting = undefined;
        signal?.removeEventListener('abort', onAbort);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting = {
        limits,
        resolve: (entries) => {
          done();
          resolve(entries);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
    });
  }

  get flowing(): boolean {
    return this.#feed?.flowing === true;
  }

  ack(seq: number): void {
    this.#feed?.ack(seq);
  }

  async close(): Promise<void> {
    this.#fail(new AntiphonError('CLOSED', 'The reader is closed. Open a new one.'));
    await this.#feed?.close();
    this.onClose(this);
  }

  #push(entry: LogEntry): void {
    if (this.#failure !== undefined) return;
    this.#queue.push(entry);
    if (this.#waiting === undefined || this.#waking) return;
    this.#waking = true;
    // After all the messages of the chunk that is being parsed: one entry at a time would cost a
    // turn each.
    queueMicrotask(() => {
      this.#waking = false;
      const waiting = this.#waiting;
      if (waiting !== undefined && this.#queue.length > 0) waiting.resolve(this.#take(waiting.limits));
    });
  }

  #take(limits: Waiting['limits']): readonly LogEntry[] {
    const entries = this.#queue.take(limits);
    this.#feed?.refill();
    return entries;
  }

  #fail(error: AntiphonError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#queue.clear();
    this.#waiting?.reject(error);
  }
}

function aborted(signal: AbortSignal | undefined): AntiphonError {
  return abortError(signal, 'Reading the log was given up.');
}
