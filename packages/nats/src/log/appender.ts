import { AntiphonError, type AppendRequest, type AppendResult } from '@antiphon/core';
import type { Msg } from 'nats';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import type { Link, LinkSubscription } from '../connection/link.js';
import type { DeniedOperation } from '../connection/denials.js';
import { MessageHeaders } from '../connection/message-headers.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { publishSafely } from '../connection/requester.js';
import type { JetStreamApi } from '../jetstream/api.js';
import { logSubject, streamName } from '../subjects.js';
import { ATTEMPT_HEADER } from './append-conflict.js';
import { explainAnswer } from './append-outcome.js';
import type { PendingAppend } from './pending-append.js';
import type { LogGuard } from './log-guard.js';
import { HEADER_ALLOWANCE_BYTES, type LogSettings } from './log-options.js';
import { readPublishAnswer } from './publish-answer.js';
import { TRACE_HEADER, traceLines } from './trace-lines.js';

const SWEEP_INTERVAL_MS = 100;
/** Printable and without spaces: it becomes a header line. */
const MESSAGE_ID = /^[\x21-\x7e]{1,256}$/;

interface AppenderDeps {
  readonly link: Link;
  readonly watch: ConnectionWatch;
  readonly problems: ProblemReporter;
  readonly api: JetStreamApi;
  readonly guard: LogGuard;
  readonly cluster: string;
  readonly settings: LogSettings;
}

interface Pending extends PendingAppend {
  readonly settled: (result: AppendResult) => void;
  readonly timeoutMs: number;
  readonly bytes: number;
}

/**
 * Publishes without waiting: one wildcard subscription takes all the answers, and no promise is
 * made per message (four to five times the speed of awaited publishes).
 */
export class Appender {
  /** Of the stream; -1: no limit of its own. */
  maxStreamMessageBytes = -1;
  readonly #prefix: string;
  readonly #subscription: LinkSubscription;
  /** In the order of sending, so also of deadlines, except for the `#impatient` ones. */
  readonly #pending = new Map<number, Pending>();
  readonly #subjects = new Map<string, string>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #stopWatching: () => void;
  readonly #stopListening: () => void;
  readonly #stream: string;
  #lastSent:
    { readonly token: number; readonly id: string; readonly expectedLastSeq: number | undefined } | undefined;
  #pendingBytes = 0;
  /** How many pending ones have a time limit of their own. */
  #impatient = 0;
  #next = 0;
  #closed = false;

  constructor(private readonly deps: AppenderDeps) {
    const { link, problems, watch, cluster } = deps;
    this.#prefix = `${link.newInbox()}.`;
    this.#stream = streamName(cluster);
    const callback = problems.guard('an append', (message: Msg) => this.#receive(message));
    this.#subscription = link.subscribe(`${this.#prefix}*`, { callback });
    this.#stopListening = link.denials.onDenied((operation, denied) => this.#heed(operation, denied));
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
    this.#stopWatching = watch.on((state) => {
      if (state !== 'connected') this.#abandonAll(`The connection to NATS was lost before the answer came.`);
    });
  }

  /**
   * As it is now: the server connected to next may take less than the last one. At least 1, which
   * nothing fits into.
   */
  get maxMessageBytes(): number {
    const { link, settings } = this.deps;
    const server = link.info?.max_payload ?? Number.POSITIVE_INFINITY;
    const stream = this.maxStreamMessageBytes > 0 ? this.maxStreamMessageBytes : Number.POSITIVE_INFINITY;
    return Math.max(1, Math.min(settings.maxMessageBytes, Math.min(server, stream) - HEADER_ALLOWANCE_BYTES));
  }

  append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    const refusal = this.#refuse(request);
    if (refusal !== undefined) return this.#refuseSoon(settled, refusal);
    const { id, data, expectedLastSeq, expectedLastSeqOfOrigin, traces } = request;
    const subject = this.#subjectOf(request.origin);
    const place = placeOf(request);
    const headers = new MessageHeaders({
      'Nats-Msg-Id': place ?? id,
      [ATTEMPT_HEADER]: place === undefined ? undefined : id,
      'Nats-Expected-Stream': this.#stream,
      'Nats-Expected-Last-Sequence': expectedLastSeq,
      'Nats-Expected-Last-Msg-Id': this.#linkTo(expectedLastSeq),
      'Nats-Expected-Last-Subject-Sequence': expectedLastSeqOfOrigin,
      [TRACE_HEADER]: traces && traceLines(traces, this.maxMessageBytes - data.length),
    });
    const token = (this.#next += 1);
    this.#lastSent = { token, id, expectedLastSeq };
    const failed = publishSafely(this.deps.link, subject, data, this.#prefix + token, headers);
    if (failed !== undefined) return this.#refuseSoon(settled, failed);
    const bytes = data.length + headers.byteLength;
    this.#pendingBytes += bytes;
    const { appendTimeoutMs } = this.deps.settings;
    const timeoutMs = Math.min(request.timeoutMs ?? appendTimeoutMs, appendTimeoutMs);
    if (timeoutMs < appendTimeoutMs) this.#impatient += 1;
    this.#pending.set(token, {
      id,
      subject,
      place,
      expectedLastSeq,
      expectedLastSeqOfOrigin,
      floor: this.deps.guard.floor,
      settled,
      timeoutMs,
      deadlineMs: performance.now() + timeoutMs,
      bytes,
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.#stopWatching();
    this.#stopListening();
    this.#subscription.unsubscribe();
    this.#abandonAll('The log was closed before the answer came.');
  }

  /**
   * The id of the append before this one in a chain that is still under way. Expected sequences
   * alone don't chain: when somebody else's entry takes the place of the first, the second finds
   * exactly the sequence that it expects.
   */
  #linkTo(expectedLastSeq: number | undefined): string | undefined {
    const before = this.#lastSent;
    if (before?.expectedLastSeq === undefined || before.expectedLastSeq + 1 !== expectedLastSeq)
      return undefined;
    return this.#pending.has(before.token) ? before.id : undefined;
  }

  /** What makes it certain that nothing is sent. */
  #refuse(request: AppendRequest): AntiphonError | undefined {
    const { origin, data } = request;
    const { watch, guard, settings, cluster } = this.deps;
    const context = { cluster, origin };
    if (guard.replaced !== undefined) return guard.replaced;
    if (this.#closed || watch.state === 'closed') {
      return new AntiphonError('CLOSED', 'The log is closed. Open it again.', { context });
    }
    try {
      this.#subjectOf(origin);
    } catch (error) {
      if (error instanceof AntiphonError) return error;
      throw error;
    }
    const mistake = mistakeIn(request);
    if (mistake !== undefined) return new AntiphonError('BAD_OPTION', mistake, { context });
    if (data.length > this.maxMessageBytes) {
      const message = `An entry of ${data.length} bytes is over the log's limit of ${this.maxMessageBytes}. Send less at once.`;
      return new AntiphonError('MESSAGE_TOO_LARGE', message, { context });
    }
    if (watch.state === 'disconnected') {
      const message = 'The connection to NATS is down. Nothing was sent. It reconnects automatically.';
      return new AntiphonError('LOG_UNAVAILABLE', message, { context });
    }
    const full =
      this.#pending.size >= settings.maxPendingAppends ||
      (this.#pending.size > 0 && this.#pendingBytes + data.length > settings.maxPendingAppendBytes);
    if (!full) return undefined;
    const message = `${this.#pending.size} appends (${this.#pendingBytes} bytes) wait for an answer. Wait for some of them.`;
    return new AntiphonError('OVERLOADED', message, { context });
  }

  /** Checked once per origin, kept: publishing is the hot path. @throws AntiphonError BAD_OPTION */
  #subjectOf(origin: string): string {
    const known = this.#subjects.get(origin);
    if (known !== undefined) return known;
    const subject = logSubject(this.deps.cluster, origin);
    // A process appends for one origin, or a few; whoever makes up new ones all the time fills no
    // memory.
    if (this.#subjects.size >= 1024) this.#subjects.clear();
    this.#subjects.set(origin, subject);
    return subject;
  }

  #receive(message: Msg): void {
    const pending = this.#take(Number(message.subject.slice(this.#prefix.length)));
    if (pending === undefined) return;
    const { api, guard, cluster, link } = this.deps;
    link.denials.permitted('publish', pending.subject);
    const result = explainAnswer(readPublishAnswer(message), pending, { api, guard, cluster });
    if (result instanceof Promise) void result.then((late) => this.#settle(pending.settled, late));
    else this.#settle(pending.settled, result);
  }

  #take(token: number): Pending | undefined {
    const pending = this.#pending.get(token);
    if (pending === undefined) return undefined;
    this.#pending.delete(token);
    this.#pendingBytes -= pending.bytes;
    if (pending.timeoutMs < this.deps.settings.appendTimeoutMs) this.#impatient -= 1;
    return pending;
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const [token, { deadlineMs, timeoutMs, settled }] of this.#pending) {
      if (deadlineMs > nowMs) {
        if (this.#impatient === 0) return;
        continue;
      }
      this.#take(token);
      const text = `The log did not answer within ${timeoutMs} ms. The entry may be stored.`;
      this.#settle(settled, { type: 'unknown', error: new AntiphonError('TIMEOUT', text) });
    }
  }

  /** NATS has denied something: no answer will come to what was sent there, or none at all. */
  #heed(operation: DeniedOperation, denied: string): void {
    const { denials } = this.deps.link;
    if (operation === 'subscribe') {
      if (denied === `${this.#prefix}*`) this.#abandon(denials.errorFor(operation, denied));
    } else if ([...this.#subjects.values()].includes(denied)) {
      this.#abandon(denials.errorFor(operation, denied), denied);
    }
  }

  #abandonAll(reason: string): void {
    this.#abandon(
      new AntiphonError('LOG_UNAVAILABLE', `${reason} The entry may be stored. Read the log to find out.`),
    );
  }

  /**
   * Those to one subject, or all: an earlier one may have been stored and its answer be on its way.
   */
  #abandon(error: AntiphonError, subject?: string): void {
    const tokens = [...this.#pending].flatMap(([token, pending]) =>
      subject === undefined || pending.subject === subject ? [token] : [],
    );
    const abandoned = tokens.flatMap((token) => this.#take(token) ?? []);
    for (const { settled } of abandoned) this.#settle(settled, { type: 'unknown', error });
  }

  /** In a turn of its own: a caller that appends again at once would leave the reconnect none. */
  #refuseSoon(settled: (result: AppendResult) => void, error: AntiphonError): void {
    setImmediate(() => this.#settle(settled, { type: 'refused', error }));
  }

  #settle(settled: (result: AppendResult) => void, result: AppendResult): void {
    this.deps.problems.guard('an append', settled)(result);
  }
}

/**
 * The id under which entries compete for the place after the expected one of their origin. The
 * leader of a replicated stream looks at the expectation when an entry arrives, and nobody does
 * when it is stored: of two that are under way at once, nats-server 2.9 stores both
 * (nats-io/nats-server#4320; later ones may still, around a change of leaders, #8469). By their
 * common id the second one is dropped. An expected last sequence of the whole log is looked at when
 * an entry is stored; those entries keep their own ids, which chains name.
 */
function placeOf({ origin, expectedLastSeq, expectedLastSeqOfOrigin }: AppendRequest): string | undefined {
  if (expectedLastSeqOfOrigin === undefined || expectedLastSeq !== undefined) return undefined;
  return `_after:${origin}:${expectedLastSeqOfOrigin}`;
}

/** What the caller did wrong; undefined when nothing. */
function mistakeIn(request: AppendRequest): string | undefined {
  const { id, expectedLastSeq, expectedLastSeqOfOrigin, timeoutMs } = request;
  for (const expected of [expectedLastSeq, expectedLastSeqOfOrigin]) {
    if (expected === undefined || (Number.isSafeInteger(expected) && expected >= 0)) continue;
    return `An append expects entry ${expected}. Give the whole number of an entry, or 0 for none.`;
  }
  if (!MESSAGE_ID.test(id)) {
    return `${JSON.stringify(id.slice(0, 80))} is not a valid id for an append. Give 1 to 256 printable characters.`;
  }
  if (timeoutMs === undefined || timeoutMs > 0) return undefined;
  return `The time limit of an append is ${timeoutMs} ms. Give a number above 0.`;
}
