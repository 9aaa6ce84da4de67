import {
  AntiphonError,
  type Publication,
  type PublicationEnd,
  type PublishRequest,
  type PublishResult,
} from '@antiphon/core';
import type { Msg } from 'nats';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import type { DeniedOperation } from '../connection/denials.js';
import type { Link, LinkSubscription } from '../connection/link.js';
import { MessageHeaders } from '../connection/message-headers.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { publishSafely } from '../connection/requester.js';
import { toPortError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { readPublishAnswer, type PublishAnswer } from '../log/publish-answer.js';
import { type ChangesStream, findOrCreateChanges } from './changes-stream.js';

/** The place of a published change, of which the stream's newest message tells how far it is. */
const CURSOR_HEADER = 'Antiphon-Cursor';
/** What the headers of a message take beside its cursor and its ids, at most. */
const HEADER_BYTES = 512;
const ANSWER_TIMEOUT_MS = 5000;
const SWEEP_INTERVAL_MS = 250;
/** So many messages of somebody else may stand behind the newest one of Antiphon. */
const MAX_FOREIGN = 1000;

interface PublicationDeps {
  readonly link: Link;
  readonly watch: ConnectionWatch;
  readonly problems: ProblemReporter;
  readonly api: JetStreamApi;
}

interface Pending {
  readonly subject: string;
  readonly deadlineMs: number;
  readonly settled: (result: PublishResult) => void;
}

interface Outgoing {
  readonly request: PublishRequest;
  readonly settled: (result: PublishResult) => void;
}

/**
 * The Publication port on a JetStream stream. As the log's appender it waits for nothing: one
 * wildcard subscription takes all answers. nats-server compares the expected sequence when it
 * stores the message, so that of two publishers at one place only one goes on.
 */
export class JetStreamPublication implements Publication {
  readonly #prefix: string;
  readonly #subscription: LinkSubscription;
  readonly #sweeper: NodeJS.Timeout;
  readonly #stops: readonly (() => void)[];
  /** In the order of sending, so also of deadlines. */
  readonly #pending = new Map<number, Pending>();
  #outgoing: Outgoing[] = [];
  #next = 0;
  #closed = false;

  constructor(
    private readonly deps: PublicationDeps,
    private readonly wanted: ChangesStream,
  ) {
    const { link, problems, watch } = deps;
    this.#prefix = `${link.newInbox()}.`;
    const callback = problems.guard('a published change', (message: Msg) => this.#receive(message));
    this.#subscription = link.subscribe(`${this.#prefix}*`, { callback });
    this.#stops = [
      link.denials.onDenied((operation, subject) => this.#heed(operation, subject)),
      watch.on((state) => {
        if (state !== 'connected') this.#failAll(lost());
      }),
    ];
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
  }

  get stream(): string {
    return this.wanted.stream;
  }

  get maxMessageBytes(): number {
    const { link } = this.deps;
    return Math.max(1, (link.info?.max_payload ?? Number.POSITIVE_INFINITY) - HEADER_BYTES);
  }

  async end(signal?: AbortSignal): Promise<PublicationEnd> {
    try {
      return await this.#end({ signal });
    } catch (error) {
      throw toPortError(error, this.#context);
    }
  }

  /**
   * Sent together with whatever else comes in this turn of the event loop: the client would write
   * to its socket for each of them, which costs more than all the rest.
   */
  publish(request: PublishRequest, settled: (result: PublishResult) => void): void {
    if (this.#outgoing.push({ request, settled }) === 1) setImmediate(() => this.#sendAll());
  }

  #sendAll(): void {
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    for (const { request, settled } of outgoing) this.#send(request, settled);
  }

  #send(request: PublishRequest, settled: (result: PublishResult) => void): void {
    const { subject, data, id, place, expectedSeq, expectedId, trace } = request;
    const fail = (error: AntiphonError): void => settled({ type: 'failed', error });
    if (this.#closed || this.deps.watch.state !== 'connected') return fail(lost());
    const headers = new MessageHeaders({
      'Nats-Msg-Id': id,
      'Nats-Expected-Stream': this.stream,
      'Nats-Expected-Last-Sequence': expectedSeq,
      'Nats-Expected-Last-Msg-Id': expectedId,
      [CURSOR_HEADER]: place,
      traceparent: trace?.traceparent,
      tracestate: trace?.tracestate,
    });
    const token = (this.#next += 1);
    const failed = publishSafely(this.deps.link, subject, data, this.#prefix + token, headers);
    if (failed !== undefined) return fail(failed);
    const deadlineMs = performance.now() + ANSWER_TIMEOUT_MS;
    this.#pending.set(token, { subject, deadlineMs, settled });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const stop of this.#stops) stop();
    this.#subscription.unsubscribe();
    this.#failAll(lost());
  }

  async #end(options: CallOptions): Promise<PublicationEnd> {
    const { api } = this.deps;
    const { state, created } = await findOrCreateChanges(api, this.wanted, options);
    const { last_seq: seq } = state;
    for (let at = seq; at > 0 && at > seq - MAX_FOREIGN; at--) {
      const message = await api.getMessage(this.stream, at, options);
      if (message === undefined) return { created, seq };
      const [id, place] = [message.header('Nats-Msg-Id'), message.header(CURSOR_HEADER)];
      if (id !== undefined && place !== undefined) return { created, seq, last: { id, place } };
    }
    if (seq === 0) return { created, seq };
    const message = `The stream ${this.stream} ends with messages that Antiphon did not publish. Find out who publishes to ${this.wanted.subjects}, and delete those messages or the stream.`;
    throw new AntiphonError('LOG_REFUSED', message, { context: this.#context });
  }

  #receive(message: Msg): void {
    const token = Number(message.subject.slice(this.#prefix.length));
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    this.#pending.delete(token);
    this.deps.link.denials.permitted('publish', pending.subject);
    pending.settled(this.#resultOf(readPublishAnswer(message)));
  }

  #resultOf(answer: PublishAnswer): PublishResult {
    switch (answer.type) {
      case 'stored':
        // What the server remembers of this id it may have dropped in a change of leaders.
        if (answer.stream === this.stream && !answer.duplicate) return { type: 'stored', seq: answer.seq };
        return this.#refused(
          `The stream ${answer.stream} took a change of ${this.stream}, or had it before.`,
        );
      case 'no-responders':
        return this.#refused(
          `No stream takes ${this.wanted.subjects}: JetStream is still starting, or it is gone.`,
        );
      case 'unreadable':
        return this.#refused(`The answer to a published change is not JetStream's.`);
      case 'error':
        return answer.error.wrongLast
          ? { type: 'outrun' }
          : { type: 'failed', error: toPortError(answer.error, this.#context) };
    }
  }

  #refused(message: string): PublishResult {
    const text = `${message} It is looked at again.`;
    return { type: 'failed', error: new AntiphonError('LOG_UNAVAILABLE', text, { context: this.#context }) };
  }

  #heed(operation: DeniedOperation, subject: string): void {
    const { denials } = this.deps.link;
    const isMine =
      operation === 'subscribe'
        ? subject === `${this.#prefix}*`
        : [...this.#pending.values()].some((pending) => pending.subject === subject);
    // What was sent behind it has no place without it.
    if (isMine) this.#failAll(denials.errorFor(operation, subject));
  }

  #sweep(): void {
    const [first] = this.#pending.values();
    if (first === undefined || first.deadlineMs > performance.now()) return;
    const message = `The stream ${this.stream} did not answer within ${ANSWER_TIMEOUT_MS} ms. It is looked at again.`;
    this.#failAll(new AntiphonError('TIMEOUT', message, { context: this.#context }));
  }

  #failAll(error: AntiphonError): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { settled } of pending) settled({ type: 'failed', error });
  }

  get #context(): { readonly cluster: string; readonly stream: string } {
    const { cluster, stream } = this.wanted;
    return { cluster, stream };
  }
}

function lost(): AntiphonError {
  const message =
    'The connection to NATS was lost before a published change was answered. It comes back automatically.';
  return new AntiphonError('LOG_UNAVAILABLE', message);
}
