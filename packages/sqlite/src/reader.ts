import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { AntiphonError, TaggedValue, type Value } from '@antiphon/core';
import type { ReaderOptions, ReadMessage, ReadReply, ReadRequest, ReadResult } from './reader-protocol.js';

/** Reads that wait for a free thread; more are refused with OVERLOADED. */
const MAX_WAITING = 1000;
/** A thread that does not notice in time that nobody waits any more is replaced. */
const CANCEL_GRACE_MS = 1000;
const CLOSE_MS = 2000;

interface Waiting {
  readonly request: ReadRequest;
  readonly signal: AbortSignal | undefined;
  resolve(result: ReadResult): void;
  reject(error: unknown): void;
}

interface Running extends Waiting {
  readonly id: number;
  readonly cancelled: Int32Array;
}

/** The worker is plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function workerUrl(): URL {
  const here = import.meta.url;
  const url = new URL(here.endsWith('.ts') ? '../dist/reader-worker.js' : './reader-worker.js', here);
  if (!existsSync(fileURLToPath(url))) {
    throw new AntiphonError(
      'INTERNAL',
      'the reader of @antiphon/sqlite is not built: run `npm run build` first.',
    );
  }
  return url;
}

class ReaderThread {
  readonly #worker: Worker;
  #running: Running | undefined;
  #nextId = 1;
  #closed = false;

  constructor(
    options: ReaderOptions,
    private readonly freed: (thread: ReaderThread) => void,
    private readonly lost: (thread: ReaderThread) => void,
  ) {
    this.#worker = new Worker(workerUrl(), { workerData: options, execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (reply: ReadReply) => this.#answered(reply));
    this.#worker.on('error', (error: unknown) =>
      this.#failed(error instanceof Error ? error : new Error(String(error))),
    );
    this.#worker.on('exit', () => this.#failed(new Error('the reading thread has ended')));
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  run(waiting: Waiting): void {
    const cancelled = new Int32Array(new SharedArrayBuffer(4));
    const running: Running = { ...waiting, id: this.#nextId++, cancelled };
    this.#running = running;
    const message: ReadMessage = { id: running.id, request: waiting.request, cancelled };
    // A caller that waits keeps the process alive; an idle thread does not.
    this.#worker.ref();
    this.#worker.postMessage(message);
    waiting.signal?.addEventListener('abort', () => this.#cancel(running), { once: true });
  }

  #cancel(running: Running): void {
    if (this.#running !== running) return;
    Atomics.store(running.cancelled, 0, 1);
    running.reject(aborted(running.signal));
    setTimeout(() => {
      if (this.#running === running) void this.close();
    }, CANCEL_GRACE_MS).unref();
  }

  #answered(reply: ReadReply): void {
    const running = this.#running;
    if (running === undefined || running.id !== reply.id) return;
    this.#running = undefined;
    this.#worker.unref();
    if (reply.ok) running.resolve(reply.result);
    else running.reject(new AntiphonError(reply.code, reply.message, { context: reply.context }));
    this.freed(this);
  }

  #failed(error: Error): void {
    const running = this.#running;
    this.#running = undefined;
    running?.reject(
      this.#closed
        ? new AntiphonError('CLOSED', 'the store is closed.')
        : new AntiphonError('STORE_FAILED', `reading failed: ${error.message}`, { cause: error }),
    );
    this.lost(this);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#failed(new Error('closed'));
    const ended = this.#worker.terminate();
    // A statement inside SQLite cannot be interrupted; its thread ends after it, without holding up the rest.
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
  }
}

function aborted(signal: AbortSignal | undefined): AntiphonError {
  return new AntiphonError('ABORTED', 'the read was given up by its caller.', { cause: signal?.reason });
}

/** Reads off the writing thread: a few threads, started when first needed, each with a read-only connection. */
export class Reader {
  readonly #threads = new Set<ReaderThread>();
  readonly #waiting: Waiting[] = [];
  #closed = false;

  constructor(
    private readonly options: ReaderOptions,
    private readonly maxThreads: number,
  ) {}

  read<Type extends ReadRequest['type']>(
    request: Extract<ReadRequest, { type: Type }>,
    signal?: AbortSignal,
  ): Promise<Extract<ReadResult, { type: Type }>> {
    if (this.#closed) return Promise.reject(new AntiphonError('CLOSED', 'the store is closed.'));
    if (signal?.aborted === true) return Promise.reject(aborted(signal));
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(
        new AntiphonError(
          'OVERLOADED',
          `${MAX_WAITING} reads are waiting already; raise \`readers\`, or read less.`,
        ),
      );
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { request, signal, resolve: resolve as (result: ReadResult) => void, reject };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', () => this.#forget(waiting), { once: true });
      this.#dispatch();
    });
  }

  #forget(waiting: Waiting): void {
    const index = this.#waiting.indexOf(waiting);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    waiting.reject(aborted(waiting.signal));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#freeThread();
      const next = thread === undefined ? undefined : this.#waiting.shift();
      if (thread === undefined || next === undefined) return;
      thread.run(next);
    }
  }

  #freeThread(): ReaderThread | undefined {
    for (const thread of this.#threads) if (!thread.busy) return thread;
    if (this.#threads.size >= this.maxThreads) return undefined;
    const thread = new ReaderThread(
      this.options,
      () => this.#dispatch(),
      (lost) => {
        this.#threads.delete(lost);
        if (!this.#closed) this.#dispatch();
      },
    );
    this.#threads.add(thread);
    return thread;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0))
      reject(new AntiphonError('CLOSED', 'the store is closed.'));
    await Promise.all([...this.#threads].map((thread) => thread.close()));
  }
}

/** Structured clone drops the class of tagged values. */
export function reviveValue(value: Value): Value {
  if (
    typeof value !== 'object' ||
    value === null ||
    value instanceof Uint8Array ||
    value instanceof TaggedValue
  )
    return value;
  const { tag, bytes } = value as unknown as { tag: TaggedValue['tag']; bytes: Uint8Array };
  return new TaggedValue(tag, bytes);
}
