import { abortError, AntiphonError } from '@antiphon/core';
import { createInbox, type Msg, type NatsConnection } from 'nats';
import type { ConnectionWatch } from './connection-watch.js';
import type { MessageHeaders } from './message-headers.js';
import type { ProblemReporter } from './problem-reporter.js';

/** How a request ended. After anything but `reply` and `no-responders` it may still have been carried out. */
export type RequestOutcome =
  | { readonly type: 'reply'; readonly message: Msg }
  | { readonly type: 'no-responders' | 'timeout' | 'disconnected' };

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: MessageHeaders;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Request-reply over one wildcard subscription. The client's own requests keep waiting through a lost connection until
 * they time out, although their reply can't come any more; these end at once.
 */
export class Requester {
  readonly #prefix: string;
  readonly #waiting = new Map<string, (outcome: RequestOutcome) => void>();
  #next = 0;

  constructor(
    private readonly connection: NatsConnection,
    private readonly watch: ConnectionWatch,
    problems: ProblemReporter,
  ) {
    this.#prefix = `${createInbox()}.`;
    const receive = (error: Error | null, message: Msg): void => {
      if (error === null) this.#receive(message);
    };
    connection.subscribe(`${this.#prefix}*`, { callback: problems.guard('a reply', receive) });
    watch.on((state) => {
      if (state !== 'connected') this.#settleAll({ type: 'disconnected' });
    });
  }

  /** @throws AntiphonError ABORTED; MESSAGE_TOO_LARGE. */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<RequestOutcome> {
    const { timeoutMs, headers, signal } = options;
    if (signal?.aborted === true) return Promise.reject(aborted(subject, signal));
    // Not at once: a caller that tries again without a pause would leave the reconnect no turn.
    if (this.watch.state !== 'connected')
      return new Promise((resolve) => setImmediate(resolve, { type: 'disconnected' }));
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
      this.#waiting.set(token, settle);
      const failed = publishSafely(this.connection, subject, data, `${this.#prefix}${token}`, headers);
      if (failed === undefined) return;
      finish();
      if (failed.code === 'CLOSED') resolve({ type: 'disconnected' });
      else reject(failed);
    });
  }

  #receive(message: Msg): void {
    const settle = this.#waiting.get(message.subject.slice(this.#prefix.length));
    settle?.(isNoResponders(message) ? { type: 'no-responders' } : { type: 'reply', message });
  }

  #settleAll(outcome: RequestOutcome): void {
    for (const settle of [...this.#waiting.values()]) settle(outcome);
  }
}

export function isNoResponders(message: Msg): boolean {
  return message.data.length === 0 && message.headers?.code === 503;
}

/** Publishes; returns what is wrong instead of throwing the client's own errors. */
export function publishSafely(
  connection: NatsConnection,
  subject: string,
  data: Uint8Array,
  reply?: string,
  headers?: MessageHeaders,
): AntiphonError | undefined {
  const limit = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
  if (data.length + (headers?.byteLength ?? 0) > limit) {
    const message = `A message of ${data.length} bytes for ${subject} is over the server's max_payload of ${limit}. Raise it there, or send less at once.`;
    return new AntiphonError('MESSAGE_TOO_LARGE', message);
  }
  try {
    connection.publish(subject, data, {
      ...(reply === undefined ? {} : { reply }),
      ...(headers === undefined ? {} : { headers: headers.forClient() }),
    });
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
