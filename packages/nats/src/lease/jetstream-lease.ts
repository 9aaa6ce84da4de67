import {
  AntiphonError,
  decodeLeaseRecord,
  encodeLeaseRecord,
  type Lease,
  type LeaseEntry,
  type LeaseRecord,
  type LeaseStandIn,
  type LeaseTake,
  type StandInOptions,
} from '@antiphon/core';
import type { ConnectNatsOptions } from '../connection/connect-options.js';
import type { Link, LinkSubscription } from '../connection/link.js';
import { MessageHeaders } from '../connection/message-headers.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import type { Requester } from '../connection/requester.js';
import { ApiError, toPortError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { readPublishAnswer, type PublishAnswer } from '../log/publish-answer.js';
import { leaseStream, leaseSubject } from '../subjects.js';
import { lastSeqOfLease } from './lease-stream.js';
import { ThreadStandIn } from './thread-stand-in.js';

/**
 * Of the lease. An answer takes milliseconds, or it is lost; then there is time to read and to try
 * again. A leader of nats-server 2.9 that was one before may drop some publishes in silence, and
 * each of them brings it nearer to where it takes them again.
 */
const ANSWER_SHARE = 1 / 4;
/** Between a look at the newest message and one at how many there were, somebody may take it. */
const READ_ATTEMPTS = 5;

interface LeaseDeps {
  /** For a thread with a connection of its own. */
  readonly access: () => ConnectNatsOptions;
  readonly link: Link;
  readonly requester: Requester;
  readonly api: JetStreamApi;
  readonly problems: ProblemReporter;
}

/**
 * The Lease port on a stream with one message. It is taken with the stream's last sequence as
 * expectation, which nats-server compares when it stores the message: not only when it arrives, as
 * it does with the last one of a subject in a replicated stream (nats-io/nats-server#4320).
 *
 * The subject's last sequence is expected as well. What is refused for it is refused on arrival,
 * and that spares nats-server 2.9 a fault: refusals on storing put the count of a replicated
 * stream's leader out of step, and when it leads a second time it drops as many publishes without
 * an answer.
 */
export class JetStreamLease implements Lease {
  readonly #stream: string;
  readonly #subject: string;
  readonly #listeners = new Set<(record: LeaseRecord) => void>();
  #subscription: LinkSubscription | undefined;
  #closed = false;
  /** Somebody has deleted what came up to here: the subject's last sequence is 0 again. */
  #emptyUpTo: number | undefined;

  constructor(
    private readonly deps: LeaseDeps,
    private readonly cluster: string,
  ) {
    this.#stream = leaseStream(cluster);
    this.#subject = leaseSubject(cluster);
  }

  open(signal?: AbortSignal): Promise<void> {
    return this.#asking(async () => void (await this.#lastSeq({ signal })));
  }

  read(signal?: AbortSignal): Promise<LeaseEntry> {
    return this.#asking(() => this.#read({ signal }));
  }

  async take(record: LeaseRecord, expectedSeq: number): Promise<LeaseTake> {
    const data = this.#encode(record, expectedSeq);
    const timeoutMs = Math.ceil(record.leaseMs * ANSWER_SHARE);
    const deadlineMs = performance.now() + timeoutMs;
    try {
      return await this.#asking(async () => {
        const answer = await this.#publish(data, expectedSeq, timeoutMs);
        if (answer.type !== 'no-responders') return this.#explain(answer);
        const leftMs = (): number => Math.max(1, Math.ceil(deadlineMs - performance.now()));
        // Nobody stores it: JetStream is still starting, or somebody deleted the stream.
        const lastSeq = await this.#lastSeq({ signal: AbortSignal.timeout(leftMs()) });
        if (lastSeq !== expectedSeq) return { type: 'lost' };
        return this.#explain(await this.#publish(data, expectedSeq, leftMs()));
      });
    } catch (error) {
      return { type: 'unknown', error: toPortError(error, this.#context) };
    }
  }

  onRenewal(listener: (record: LeaseRecord) => void): () => void {
    if (this.#closed) return () => undefined;
    const own = (record: LeaseRecord): void => listener(record);
    this.#listeners.add(own);
    this.#subscription ??= this.#subscribe();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#unsubscribe();
    };
  }

  standIn(options: StandInOptions): LeaseStandIn {
    return new ThreadStandIn(this.deps.access(), this.cluster, options);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    this.#unsubscribe();
    return Promise.resolve();
  }

  async #read(options: CallOptions): Promise<LeaseEntry> {
    for (let attempt = 1; ; attempt++) {
      const message = await this.#newest(options);
      this.#emptyUpTo = undefined;
      if (message !== undefined) return { seq: message.seq, record: decodeLeaseRecord(message.data) };
      const { state } = await this.deps.api.streamInfo(this.#stream, options);
      if (state.messages === 0) {
        this.#emptyUpTo = state.last_seq;
        return { seq: state.last_seq, record: undefined };
      }
      if (attempt === READ_ATTEMPTS) {
        const message = `The stream ${this.#stream} holds messages that are not of the lease. Find out who else publishes into it.`;
        throw new AntiphonError('LOG_REFUSED', message, { context: this.#context });
      }
    }
  }

  async #newest(options: CallOptions): ReturnType<JetStreamApi['lastMessage']> {
    const { api } = this.deps;
    try {
      return await api.lastMessage(this.#stream, this.#subject, options);
    } catch (error) {
      if (!(error instanceof ApiError) || !error.noStream) throw error;
      await this.#lastSeq(options);
      return api.lastMessage(this.#stream, this.#subject, options);
    }
  }

  async #publish(data: Uint8Array, expectedSeq: number, timeoutMs: number): Promise<PublishAnswer> {
    const headers = new MessageHeaders({
      'Nats-Expected-Stream': this.#stream,
      'Nats-Expected-Last-Sequence': expectedSeq,
      'Nats-Expected-Last-Subject-Sequence': expectedSeq === this.#emptyUpTo ? 0 : expectedSeq,
    });
    const outcome = await this.deps.requester.request(this.#subject, data, { timeoutMs, headers });
    if (outcome.type === 'denied') throw outcome.error;
    if (outcome.type === 'reply') return readPublishAnswer(outcome.message);
    if (outcome.type === 'no-responders') return { type: 'no-responders' };
    const message = `The lease got no answer: ${outcome.type === 'timeout' ? `none came within ${timeoutMs} ms` : 'the connection to NATS is down'}. Read the lease to find out.`;
    throw new AntiphonError(outcome.type === 'timeout' ? 'TIMEOUT' : 'LOG_UNAVAILABLE', message, {
      context: this.#context,
    });
  }

  /** @throws AntiphonError, ApiError: nobody knows what became of it. */
  #explain(answer: PublishAnswer): LeaseTake {
    switch (answer.type) {
      case 'stored':
        return { type: 'taken', seq: answer.seq };
      case 'error':
        if (answer.error.wrongLast) return { type: 'lost' };
        throw answer.error;
      case 'no-responders': {
        const message = 'No stream listens on the subject of the lease. Start nats-server with JetStream.';
        throw new AntiphonError('LOG_UNAVAILABLE', message, { context: this.#context });
      }
      case 'unreadable': {
        const message =
          "The answer to the lease is not JetStream's. Find out who else listens on its subject.";
        throw new AntiphonError('LOG_REFUSED', message, { context: this.#context });
      }
    }
  }

  #encode(record: LeaseRecord, expectedSeq: number): Uint8Array {
    const data = encodeLeaseRecord(record);
    if (decodeLeaseRecord(data) !== undefined && Number.isSafeInteger(expectedSeq) && expectedSeq >= 0)
      return data;
    const message = `${JSON.stringify(record)} behind entry ${expectedSeq} is not a lease. Give a holder, its instance, and whole numbers.`;
    throw new AntiphonError('BAD_OPTION', message, { context: this.#context });
  }

  #lastSeq(options: CallOptions): Promise<number> {
    return lastSeqOfLease(this.deps.api, this.cluster, options);
  }

  #subscribe(): LinkSubscription {
    const { link, problems } = this.deps;
    const receive = ({ data }: { readonly data: Uint8Array }): void => {
      const record = decodeLeaseRecord(data);
      if (record === undefined) return;
      for (const listener of [...this.#listeners]) listener(record);
    };
    return link.subscribe(this.#subject, { callback: problems.guard(this.#subject, receive) });
  }

  #unsubscribe(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#closed)
      throw new AntiphonError('CLOSED', 'The lease is closed. Connect again.', { context: this.#context });
    try {
      return await ask();
    } catch (error) {
      throw toPortError(error, this.#context);
    }
  }

  get #context(): { readonly cluster: string; readonly stream: string } {
    return { cluster: this.cluster, stream: this.#stream };
  }
}
