import {
  AntiphonError,
  toAntiphonError,
  type AppendRequest,
  type AppendResult,
  type Log,
  type LogConnection,
  type LogEntry,
  type LogIdentity,
  type LogReader,
} from '@antiphon/core';
import { closed, unavailable, type Link } from '../link.js';
import type { MemoryLog } from './memory-log.js';
import { MemoryLogReader } from './reader.js';

/** How much later than its time limit a late publish arrives, at most. */
const LATEST_ARRIVAL_MS = 3000;

/** One process's view of a `MemoryLog`. */
export class MemoryLogConnection implements Log {
  readonly #readers = new Set<MemoryLogReader>();

  constructor(
    private readonly log: MemoryLog,
    readonly link: Link,
  ) {}

  get maxMessageBytes(): number {
    return this.log.maxMessageBytes;
  }

  get connection(): LogConnection {
    return this.link.state;
  }

  onConnection(listener: (connection: LogConnection) => void): () => void {
    return this.link.onState(listener);
  }

  open(options: { readonly create: boolean; readonly signal?: AbortSignal }): Promise<LogIdentity> {
    const work = (): LogIdentity => (options.create ? this.log.create() : this.log.stream.identity());
    return this.link.call('open the log', work, options.signal);
  }

  identity(signal?: AbortSignal): Promise<LogIdentity> {
    return this.link.call('read the identity of the log', () => this.log.stream.identity(), signal);
  }

  lastOf(origin: string, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.link.call(`read the last entry of ${origin}`, () => this.log.stream.lastOf(origin), signal);
  }

  get(seq: number, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.link.call(`read entry ${seq}`, () => this.log.stream.get(seq), signal);
  }

  append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    const { link } = this;
    const outcome = this.#settledOnce(settled);
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return link.later(0, () => outcome({ type: 'refused', error: refusal }));

    outcome.unknownAfter(link.timeoutMs);
    // The caller may use its buffer again.
    const sent = { ...request, data: request.data.slice() };
    if (link.faults.strikes('lostAppend')) return;
    if (link.faults.strikes('lateAppend')) {
      const delayMs = link.timeoutMs + link.faults.delayMs(LATEST_ARRIVAL_MS);
      // Not the process's doing any more: it arrives even when the process has ended.
      this.log.clock.setTimer(delayMs, () => {
        if (!link.dropped) this.#store(sent);
      });
      return;
    }
    link.send(() => {
      const result = this.#store(sent);
      if (link.faults.strikes('lostAppendReply')) return;
      link.receive(() => outcome(result));
    });
  }

  async read(options: {
    readonly generation: string;
    readonly fromSeq: number;
    readonly durable?: string;
  }): Promise<LogReader> {
    const reader = new MemoryLogReader(this.log, this.link, options);
    await this.link.call('read the log', () => reader.attach());
    this.#readers.add(reader);
    return reader;
  }

  async close(): Promise<void> {
    for (const reader of this.#readers) await reader.close();
    this.#readers.clear();
    this.link.close();
  }

  #refusal(request: AppendRequest): AntiphonError | undefined {
    const what = `publish ${request.id}`;
    if (this.link.state === 'closed') return closed(what);
    if (this.link.state === 'disconnected') return unavailable(what);
    if (request.data.length > this.maxMessageBytes) {
      return new AntiphonError(
        'MESSAGE_TOO_LARGE',
        `${what}: ${request.data.length} bytes, the log takes ${this.maxMessageBytes}; send smaller parts`,
      );
    }
    if (!this.link.faults.strikes('refusedAppend')) return undefined;
    return new AntiphonError('LOG_UNAVAILABLE', `${what}: refused by chance; send it again`);
  }

  #store(request: AppendRequest): AppendResult {
    try {
      const stored = this.log.stream.append(request);
      if (stored.type === 'not-last') return notLast(request, stored.lastSeq);
      if (this.link.faults.strikes('duplicatedAppend')) {
        this.log.stream.forget(request.id);
        this.log.stream.append({ origin: request.origin, id: request.id, data: request.data });
      }
      this.log.changed();
      return stored;
    } catch (error) {
      return { type: 'refused', error: toAntiphonError(error) };
    }
  }

  /** Once, never after the process has ended; `unknown` when the connection breaks or nothing comes in time. */
  #settledOnce(settled: (result: AppendResult) => void): SettleOnce {
    let open = true;
    const stops: (() => void)[] = [];
    const settle = (result: AppendResult): void => {
      if (!open) return;
      open = false;
      for (const stop of stops) stop();
      if (!this.link.killed) settled(result);
    };
    const unknown = (): void => settle({ type: 'unknown', error: unavailable('publish') });
    const unknownAfter = (timeoutMs: number): void => {
      const timer = this.link.clock.setTimer(timeoutMs, unknown);
      stops.push(() => timer.cancel());
      stops.push(
        this.link.onState((state) => (state === 'connected' ? undefined : this.link.later(0, unknown))),
      );
    };
    return Object.assign(settle, { unknownAfter });
  }
}

type SettleOnce = ((result: AppendResult) => void) & { unknownAfter(timeoutMs: number): void };

function notLast(request: AppendRequest, lastSeq: number): AppendResult {
  const error = new AntiphonError(
    'LOG_REFUSED',
    `publish ${request.id}: the last sequence is ${lastSeq}, not ${request.expectedLastSeq}; read the log and try again`,
  );
  return { type: 'refused', error, lastSeq };
}
