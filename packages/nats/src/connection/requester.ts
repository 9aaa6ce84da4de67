import { abortError, AntiphonError } from '@antiphon/core';
import type { Msg } from 'nats';
import type { ConnectionWatch } from './connection-watch.js';
import type { Link } from './link.js';
import type { MessageHeaders } from './message-headers.js';
import type { ProblemReporter } from './problem-reporter.js';

/**
 * How a request ended. After `timeout` and `disconnected` it may still have been carried out.
 * `denied`: NATS does not permit it, or not to hear an answer.
 */
export type RequestOutcome =
  | { readonly type: 'reply'; readonly message: Msg }
  | { readonly type: 'denied'; readonly error: AntiphonError }
  | { readonly type: 'no-responders' | 'timeout' | 'disconnected' };

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: MessageHeaders;
  readonly signal?: AbortSignal | undefined;
}

interface Waiting {
  readonly subject: string;
  readonly settle: (outcome: RequestOutcome) => void;
}

/**
 * Request-reply over one wildcard subscription. The client's own requests keep waiting through a
 * lost connection until they time out, although their reply can't come any more; these end at once.
 */
export class Requester {
  readonly #prefix: string;
  readonly #waiting = new Map<string, Waiting>();
  #next = 0;

  constructor(
    private readonly link: Link,
    private readonly watch: ConnectionWatch,
    problems: ProblemReporter,
  ) {
    this.#prefix = `${link.newInbox()}.`;
    const callback = problems.guard('a reply', (message: Msg) => this.#receive(message));
    link.subscribe(this.#inbox, { callback });
    watch.on((state) => {
      if (state !== 'connected') this.#settleAll({ type: 'disconnected' });
    });
    link.denials.onDenied((operation, subject) => {
      if (operation === 'publish') this.#deny(subject);
      else if (subject === this.#inbox) this.#settleAll({ type: 'denied', error: this.#deaf() });
    });
  }

  /**
   * No connection because NATS refuses the login: what there is to say instead of "start
   * nats-server".
   */
  get refusedLogin(): AntiphonError | undefined {
    const { denials } = this.link;
    return denials.isDenied('login', '') ? denials.errorFor('login', '') : undefined;
  }

  /** @throws AntiphonError ABORTED; MESSAGE_TOO_LARGE. */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<RequestOutcome> {
    const { timeoutMs, headers, signal } = options;
    if (signal?.aborted === true) return Promise.reject(aborted(subject, signal));
    // Not at once: a caller that tries again without a pause would leave the reconnect no turn.
    if (this.watch.state !== 'connected')
      return new Promise((resolve) => setImmediate(resolve, { type: 'disconnected' }));
    if (this.link.denials.isDenied('subscribe', this.#inbox))
      return new Promise((resolve) => setImmediate(resolve, { type: 'denied', error: this.#deaf() }));
    const token = String((this.#next += 1));
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(token);
        signal?.removeEventListener('abort', onAbort);
      };
      const settle = (outcome: RequestOutcome): void => {
        finish();
        resolve(outcome);
      };
      const onAbort = (): void => {
        finish();
        reject(aborted(subject, signal));
      };
      const timer = setTimeout(() => settle({ type: 'timeout' }), timeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(token, { subject, settle });
      const failed = publishSafely(this.link, subject, data, `${this.#prefix}${token}`, headers);
      if (failed === undefined) return;
      finish();
      if (failed.code === 'CLOSED') resolve({ type: 'disconnected' });
      else reject(failed);
    });
  }

  #receive(message: Msg): void {
    const waiting = this.#waiting.get(message.subject.slice(this.#prefix.length));
    if (waiting === undefined) return;
    this.link.denials.permitted('publish', waiting.subject);
    waiting.settle(isNoResponders(message) ? { type: 'no-responders' } : { type: 'reply', message });
  }

  get #inbox(): string {
    return `${this.#prefix}*`;
  }

  #deaf(): AntiphonError {
    return this.link.denials.errorFor('subscribe', this.#inbox);
  }

  /**
   * The server doesn't say which of several requests to a subject it means; it would permit none of
   * them.
   */
  #deny(subject: string): void {
    const error = this.link.denials.errorFor('publish', subject);
    for (const waiting of [...this.#waiting.values()]) {
      if (waiting.subject === subject) waiting.settle({ type: 'denied', error });
    }
  }

  #settleAll(outcome: RequestOutcome): void {
    for (const { settle } of [...this.#waiting.values()]) settle(outcome);
  }
}

export function isNoResponders(message: Msg): boolean {
  return message.data.length === 0 && message.headers?.code === 503;
}

/** Publishes; returns what is wrong instead of throwing the client's own errors. */
export function publishSafely(
  link: Link,
  subject: string,
  data: Uint8Array,
  reply?: string,
  headers?: MessageHeaders,
): AntiphonError | undefined {
  const limit = link.info?.max_payload ?? Number.POSITIVE_INFINITY;
  if (data.length + (headers?.byteLength ?? 0) > limit) {
    const message = `A message of ${data.length} bytes for ${subject} is over the server's max_payload of ${limit}. Raise it there, or send less at once.`;
    return new AntiphonError('MESSAGE_TOO_LARGE', message);
  }
  try {
    link.publish(subject, data, reply, headers);
    return undefined;
  } catch (error) {
    return new AntiphonError('CLOSED', `The connection to NATS is closed: ${subject} was not sent.`, {
      cause: error,
    });
  }
}

function aborted(subject: string, signal: AbortSignal | undefined): AntiphonError {
  return abortError(signal, `The request to ${subject} was given up.`);
}
