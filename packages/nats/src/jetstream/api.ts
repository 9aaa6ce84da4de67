import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import type { JetStreamAccountStats, ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo } from 'nats';
import type { Requester } from '../connection/requester.js';
import { ApiError, type ApiErrorBody } from './api-error.js';
import { JetStreamOffError, saysOff } from './jetstream-off.js';
import { decodeStoredMessage, type StoredMessage, type StoredMessageBody } from './stored-message.js';

/** One try: an answer takes a fraction of a millisecond, or it is lost. */
const ATTEMPT_TIMEOUT_MS = 1500;
const RETRY_WAIT_MS = 100;
/**
 * JetStream is there before a server takes clients. A server on which nobody listens to its API for
 * so long was started without it, and no waiting would help.
 */
const OFF_AFTER_MS = 1000;
/** How often a stream that is just being created by somebody else is asked for again. */
const CREATE_ATTEMPTS = 5;
/** What nats-server (2.9) calls the birth of a stream whose store is not open yet. */
const UNBORN = '0001-01-01T00:00:00Z';
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default: the connection's `requestTimeoutMs`. */
  readonly timeoutMs?: number;
}

/**
 * The requests of the JetStream API that Antiphon makes, all of them to the leader of what they are
 * about: nothing that is read here is stale. Each may be repeated, and is, until it has an answer
 * or the time is up: after a server's restart JetStream is silent for a while.
 *
 * Every method throws AntiphonError LOG_UNAVAILABLE, ACCESS_DENIED or ABORTED, or ApiError when
 * JetStream says no.
 */
export class JetStreamApi {
  /**
   * Streams that were seen complete. nats-server (2.9) already shows one that somebody is creating,
   * and crashes when a message is asked of it before its store is open.
   */
  readonly #complete = new Set<string>();

  constructor(
    private readonly requester: Requester,
    private readonly timeoutMs: number,
    private readonly shownServers: string,
  ) {}

  accountInfo(options?: CallOptions): Promise<JetStreamAccountStats> {
    return this.#call('INFO', undefined, options);
  }

  /**
   * Finds out within about a second whether there is JetStream for this account at all. No answer
   * is no finding.
   * @throws AntiphonError LOG_UNAVAILABLE when there is certainly none, ABORTED.
   */
  async assertEnabled(signal?: AbortSignal): Promise<void> {
    try {
      await this.#call('INFO', undefined, { signal, timeoutMs: OFF_AFTER_MS + ATTEMPT_TIMEOUT_MS });
    } catch (error) {
      if (error instanceof JetStreamOffError || (error instanceof AntiphonError && error.code === 'ABORTED'))
        throw error;
    }
  }

  /** With `subjects`, the names of the subjects that match, and how many messages each has. */
  async streamInfo(
    stream: string,
    options: CallOptions & { subjects?: string; offset?: number } = {},
  ): Promise<StreamInfo> {
    const { subjects, offset } = options;
    const body = subjects === undefined ? undefined : { subjects_filter: subjects, offset: offset ?? 0 };
    const info = await this.#call<StreamInfo>(`STREAM.INFO.${stream}`, body, options);
    this.#complete.add(stream);
    return info;
  }

  async createStream(
    config: Partial<StreamConfig> & { name: string },
    options?: CallOptions,
  ): Promise<StreamInfo> {
    for (let attempt = 1; ; attempt++) {
      try {
        const info = await this.#call<StreamInfo>(`STREAM.CREATE.${config.name}`, config, options);
        this.#complete.add(config.name);
        return info;
      } catch (error) {
        // While two create the same stream at once, nats-server (2.9) tells one of them that the
        // subjects overlap: with each other's.
        const another = error instanceof ApiError && error.subjectsOverlap;
        if (!another || attempt === CREATE_ATTEMPTS) throw error;
        await sleep(RETRY_WAIT_MS, undefined, { signal: options?.signal });
      }
    }
  }

  /** Undefined when there is no such message. */
  getMessage(stream: string, seq: number, options?: CallOptions): Promise<StoredMessage | undefined> {
    return this.#getMessage(stream, { seq }, options);
  }

  /** The newest message of a subject; undefined when it has none. */
  lastMessage(stream: string, subject: string, options?: CallOptions): Promise<StoredMessage | undefined> {
    return this.#getMessage(stream, { last_by_subj: subject }, options);
  }

  /**
   * The first message of a subject from `fromSeq` on; undefined when it has none. Since nats-server
   * 2.9.
   */
  nextMessage(
    stream: string,
    subject: string,
    fromSeq: number,
    options?: CallOptions,
  ): Promise<StoredMessage | undefined> {
    return this.#getMessage(stream, { seq: fromSeq, next_by_subj: subject }, options);
  }

  createConsumer(
    stream: string,
    name: string,
    config: Partial<ConsumerConfig>,
    options?: CallOptions,
  ): Promise<ConsumerInfo> {
    return this.#call(
      `CONSUMER.CREATE.${stream}.${name}`,
      { stream_name: stream, config, action: '' },
      options,
    );
  }

  async consumerInfo(stream: string, name: string, options?: CallOptions): Promise<ConsumerInfo | undefined> {
    return absent(
      'consumer',
      this.#call<ConsumerInfo>(`CONSUMER.INFO.${stream}.${name}`, undefined, options),
    );
  }

  /** Does nothing when there is none. */
  async deleteConsumer(stream: string, name: string, options?: CallOptions): Promise<void> {
    await absent('consumer', this.#call(`CONSUMER.DELETE.${stream}.${name}`, undefined, options));
  }

  async #getMessage(stream: string, body: object, options?: CallOptions): Promise<StoredMessage | undefined> {
    if (!this.#complete.has(stream)) await this.streamInfo(stream, options);
    const reply = this.#call<{ message: StoredMessageBody }>(`STREAM.MSG.GET.${stream}`, body, options);
    try {
      const found = await absent('message', reply);
      return found === undefined ? undefined : decodeStoredMessage(found.message);
    } catch (error) {
      // Deleted: the next one of this name is another stream.
      if (error instanceof ApiError && error.noStream) this.#complete.delete(stream);
      throw error;
    }
  }

  async #call<T>(operation: string, body: object | undefined, options: CallOptions = {}): Promise<T> {
    const { signal, timeoutMs = this.timeoutMs } = options;
    const deadlineMs = performance.now() + timeoutMs;
    const data = body === undefined ? NOTHING : encoder.encode(JSON.stringify(body));
    let offSinceMs: number | undefined;
    for (;;) {
      const attemptMs = Math.min(ATTEMPT_TIMEOUT_MS, Math.max(1, deadlineMs - performance.now()));
      const outcome = await this.requester.request(`$JS.API.${operation}`, data, {
        timeoutMs: attemptMs,
        signal,
      });
      if (outcome.type === 'denied') throw outcome.error;
      let failure: unknown = outcome.type;
      if (outcome.type === 'reply') {
        const answer = parseAnswer(operation, outcome.message.data);
        if (answer.error === undefined && answer.created !== UNBORN) return answer as T;
        const error = answer.error === undefined ? undefined : new ApiError(operation, answer.error);
        if (error?.unavailable === false) throw error;
        failure = error ?? 'unborn';
      }
      offSinceMs = saysOff(failure) ? (offSinceMs ?? performance.now()) : undefined;
      if (offSinceMs !== undefined && performance.now() - offSinceMs >= OFF_AFTER_MS)
        throw new JetStreamOffError(failure, this.shownServers);
      const { refusedLogin } = this.requester;
      if (outcome.type === 'disconnected' && refusedLogin !== undefined) throw refusedLogin;
      if (outcome.type === 'disconnected' || performance.now() + RETRY_WAIT_MS >= deadlineMs) {
        throw this.#unavailable(operation, failure, timeoutMs);
      }
      await pause(RETRY_WAIT_MS, operation, signal);
    }
  }

  #unavailable(operation: string, failure: unknown, timeoutMs: number): AntiphonError {
    const message =
      failure === 'disconnected'
        ? `The connection to NATS at ${this.shownServers} is down. Start nats-server. The connection comes back automatically.`
        : `JetStream at ${this.shownServers} did not answer ${operation} within ${timeoutMs} ms. Start nats-server with JetStream (-js), and look at its log.`;
    return new AntiphonError('LOG_UNAVAILABLE', message, { cause: failure, context: { operation } });
  }
}

interface ApiAnswer {
  readonly error?: ApiErrorBody;
  /** Of a stream or a consumer. */
  readonly created?: string;
}

function parseAnswer(operation: string, data: Uint8Array): ApiAnswer {
  try {
    return JSON.parse(decoder.decode(data)) as ApiAnswer;
  } catch (error) {
    const message = `The answer to ${operation} is not JetStream's. Find out who else listens on $JS.API.`;
    throw new AntiphonError('LOG_UNAVAILABLE', message, { cause: error });
  }
}

/**
 * Undefined for "there is none of it", which is an answer. A stream that is missing is not: that
 * stays an error.
 */
async function absent<T>(what: 'consumer' | 'message', answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    const isAnswer = error instanceof ApiError && (what === 'consumer' ? error.noConsumer : error.noMessage);
    if (isAnswer) return undefined;
    throw error;
  }
}

async function pause(waitMs: number, operation: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(waitMs, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw new AntiphonError('ABORTED', `The request ${operation} was given up.`, { cause: error });
  }
}
