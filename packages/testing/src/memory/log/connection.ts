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
import type { Stored, StreamAppend } from './stream.js';

/** How much later than its entry an answer comes, at most: a server sends them apart. */
const LATEST_REPLY_MS = 60;
/** How much later than its time limit a late publish arrives, at most. */
const LATEST_ARRIVAL_MS = 3000;

/** Of one entry, as JetStream's adapter has it. */
const MAX_TRACES = 64;

/** One process's view of a `MemoryLog`. */
export class MemoryLogConnection implements Log {
  readonly #readers = new Set<MemoryLogReader>();
  /** On the monotonic clock: no answer comes before. */
  #answersFromMs = 0;
  #lastSent: Sent | undefined;

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

  timeMs(signal?: AbortSignal): Promise<number> {
    const work = (): number => {
      void this.log.stream;
      return this.log.clock.nowMs();
    };
    return this.link.call('read the clock of the log', work, signal);
  }

  lastOf(origin: string, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.link.call(
      `read the last entry of ${origin}`,
      () => this.#found(this.log.stream.lastOf(origin)),
      signal,
    );
  }

  get(seq: number, signal?: AbortSignal): Promise<LogEntry | undefined> {
    return this.link.call(`read entry ${seq}`, () => this.#found(this.log.stream.get(seq)), signal);
  }

  append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    const { link } = this;
    const outcome = this.#settledOnce(settled);
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return link.later(0, () => outcome({ type: 'refused', error: refusal }));

    outcome.unknownAfter(Math.min(request.timeoutMs ?? link.timeoutMs, link.timeoutMs));
    const sent = this.#sent(request, outcome);
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
      this.#answer(() => link.receive(() => outcome(result)));
    });
  }

  async read(options: Parameters<Log['read']>[0]): Promise<LogReader> {
    const reader = new MemoryLogReader(this.log, this.link, options);
    await this.link.call('read the log', () => reader.attach());
    this.#readers.add(reader);
    return reader;
  }

  /** Where it has got to is nothing that this log keeps. */
  forget(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    for (const reader of this.#readers) await reader.close();
    this.#readers.clear();
    this.link.close();
  }

  /** One after the other, as a server sends them; entries for readers are not held up by them. */
  #answer(send: () => void): void {
    const { clock } = this.log;
    const { faults } = this.link;
    const isLate = faults.rates.lateAppendReply > 0 && faults.strikes('lateAppendReply');
    const nowMs = clock.monotonicMs();
    this.#answersFromMs = Math.max(
      this.#answersFromMs,
      isLate ? nowMs + faults.delayMs(LATEST_REPLY_MS) : nowMs,
    );
    if (this.#answersFromMs === nowMs) send();
    else clock.setTimer(this.#answersFromMs - nowMs, send);
  }

  #found(entry: LogEntry | undefined): LogEntry | undefined {
    return this.log.stream.withAttempt(entry);
  }

  #refusal(request: AppendRequest): AntiphonError | undefined {
    const what = `append ${request.id}`;
    if (this.link.state === 'closed') return closed(what);
    if (this.link.state === 'disconnected') return unavailable(what);
    const mistake = mistakeIn(request);
    if (mistake !== undefined) return new AntiphonError('BAD_OPTION', `Cannot ${what}. ${mistake}`);
    if (request.data.length > this.maxMessageBytes) {
      return new AntiphonError(
        'MESSAGE_TOO_LARGE',
        `Cannot ${what}: it has ${request.data.length} bytes, and the log takes ${this.maxMessageBytes}. Send smaller parts.`,
      );
    }
    if (!this.link.faults.strikes('refusedAppend')) return undefined;
    return new AntiphonError('LOG_UNAVAILABLE', `Cannot ${what}: it was refused by chance. Send it again.`);
  }

  /**
   * A copy, since the caller may use its buffer again; with the link to the one before, as
   * docs/decisions/0010 has it.
   */
  #sent(request: AppendRequest, outcome: SettleOnce): StreamAppend {
    const { id, expectedLastSeq } = request;
    const before = this.#lastSent;
    this.#lastSent = { id, expectedLastSeq, outcome };
    const { traces = [], ...others } = request;
    const kept =
      traces.length === 0 || request.data.length >= this.maxMessageBytes ? [] : traces.slice(0, MAX_TRACES);
    const sent = { ...others, data: request.data.slice(), ...(kept.length > 0 && { traces: kept }) };
    const chained = before?.expectedLastSeq !== undefined && before.expectedLastSeq + 1 === expectedLastSeq;
    return chained && before.outcome.isOpen() ? { ...sent, expectedLastId: before.id } : sent;
  }

  /** The log has forgotten the id. What the origin's last entry has to be it still looks at. */
  #storeAgain({ origin, id, data, expectedLastSeqOfOrigin: expected }: StreamAppend): void {
    this.log.stream.forget(id);
    const again = { origin, id, data };
    this.log.stream.append(expected === undefined ? again : { ...again, expectedLastSeqOfOrigin: expected });
  }

  #store(request: StreamAppend): AppendResult {
    try {
      const stored = this.#append(request);
      if (stored.type === 'not-last') return notLast(request, stored);
      if (this.link.faults.strikes('duplicatedAppend')) this.#storeAgain(request);
      this.log.changed();
      return stored;
    } catch (error) {
      return { type: 'refused', error: toAntiphonError(error) };
    }
  }

  #append(request: StreamAppend): Stored {
    const stored = this.log.stream.append(request);
    if (stored.type === 'stored' || !this.#isRival(request)) return stored;
    const { origin, id, data } = request;
    return this.log.stream.append({ origin, id, data });
  }

  /** A log that takes two attempts at one place all the same (docs/decisions/0012). */
  #isRival({ origin, expectedLastSeqOfOrigin }: StreamAppend): boolean {
    if (expectedLastSeqOfOrigin === undefined || origin.startsWith('_')) return false;
    return this.link.faults.strikes('rivalAppend');
  }

  /**
   * Once, never after the process has ended; `unknown` when the connection breaks or nothing comes
   * in time.
   */
  #settledOnce(settled: (result: AppendResult) => void): SettleOnce {
    let open = true;
    const stops: (() => void)[] = [];
    const settle = (result: AppendResult): void => {
      if (!open) return;
      open = false;
      for (const stop of stops) stop();
      this.link.inProcess(() => {
        if (!this.link.killed) settled(result);
      });
    };
    const unknown = (): void => settle({ type: 'unknown', error: unavailable('append') });
    const unknownAfter = (timeoutMs: number): void => {
      const timer = this.link.clock.setTimer(timeoutMs, unknown);
      stops.push(() => timer.cancel());
      stops.push(
        this.link.onState((state) => (state === 'connected' ? undefined : this.link.later(0, unknown))),
      );
    };
    return Object.assign(settle, { unknownAfter, isOpen: () => open });
  }
}

type SettleOnce = ((result: AppendResult) => void) & {
  unknownAfter(timeoutMs: number): void;
  isOpen(): boolean;
};

interface Sent {
  readonly id: string;
  readonly expectedLastSeq: number | undefined;
  readonly outcome: SettleOnce;
}

/** What the caller did wrong; undefined when nothing. */
function mistakeIn({
  expectedLastSeq,
  expectedLastSeqOfOrigin,
  timeoutMs,
}: AppendRequest): string | undefined {
  for (const expected of [expectedLastSeq, expectedLastSeqOfOrigin]) {
    if (expected === undefined || (Number.isSafeInteger(expected) && expected >= 0)) continue;
    return `${expected} is not the number of an entry. Give a whole number, or 0 for none.`;
  }
  return timeoutMs === undefined || timeoutMs > 0
    ? undefined
    : `The time limit is ${timeoutMs} ms. Give one above 0.`;
}

function notLast(request: StreamAppend, found: Extract<Stored, { type: 'not-last' }>): AppendResult {
  const { id, expectedLastSeq, expectedLastSeqOfOrigin } = request;
  const { lastSeq, lastSeqOfOrigin } = found;
  const message = `Append ${id} was refused: the last sequence is ${lastSeq}, ${lastSeqOfOrigin} of its origin, not ${expectedLastSeq ?? 'any'}, ${expectedLastSeqOfOrigin ?? 'any'}. Read the log and try again.`;
  return {
    type: 'refused',
    error: new AntiphonError('LOG_REFUSED', message, { retriable: true }),
    ...(expectedLastSeq === undefined ? {} : { lastSeq }),
    ...(expectedLastSeqOfOrigin === undefined ? {} : { lastSeqOfOrigin }),
  };
}
