import {
  AntiphonError,
  type Bus,
  type BusHeaders,
  type BusRequest,
  type BusSubscription,
} from '@antiphon/core';
import { Match, type Msg } from 'nats';
import type { Link } from '../connection/link.js';
import type { ProblemReporter } from '../connection/problem-reporter.js';
import { MessageHeaders } from '../connection/message-headers.js';
import { publishSafely, type Requester } from '../connection/requester.js';
import type { ConnectionWatch } from '../connection/connection-watch.js';
import { assertPublishSubject, assertSubscribeSubject } from '../connection/subject-check.js';

interface BusDeps {
  readonly link: Link;
  readonly watch: ConnectionWatch;
  readonly requester: Requester;
  readonly problems: ProblemReporter;
  readonly shownServers: string;
}

/** Where answers have no business: what replicas write to, and NATS's own subjects. */
const OF_REPLICAS = /^(?:\$|antiphon\.[^.]+\.(?:log|beat|lease|ack|replica|read|write)(?:\.|$))/;

/**
 * The Bus port on core NATS. Throws BAD_OPTION for a subject that is none, MESSAGE_TOO_LARGE over
 * the server's limit.
 */
export class NatsBus implements Bus {
  /** Each by its tokens. */
  readonly #noAnswers: (readonly string[])[] = [];

  constructor(private readonly deps: BusDeps) {}

  /** `subjects`, with `*` for a token: who listens there takes what comes for something else. */
  answerNowhereIn(subjects: string): void {
    this.#noAnswers.push(subjects.split('.'));
  }

  publish(subject: string, data: Uint8Array): void {
    assertPublishSubject(subject);
    // What the client takes while disconnected it may send or drop much later: neither is wanted.
    if (this.deps.watch.state !== 'connected') return;
    const failed = publishSafely(this.deps.link, subject, data);
    if (failed !== undefined && failed.code !== 'CLOSED') throw failed;
  }

  async request(
    subject: string,
    data: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly headers?: BusHeaders },
  ): Promise<Uint8Array> {
    assertPublishSubject(subject);
    const { timeoutMs, signal, headers: fields } = options;
    const headers = fields && new MessageHeaders(printable(fields));
    const limits = { timeoutMs, signal, ...(headers && { headers }) };
    const outcome = await this.deps.requester.request(subject, data, limits);
    switch (outcome.type) {
      case 'reply':
        return outcome.message.data;
      case 'denied':
        throw outcome.error;
      case 'no-responders':
        throw new AntiphonError(
          'NO_ACTOR',
          `Nobody listens on ${subject}. Start that replica, or check its id.`,
        );
      case 'timeout':
        throw new AntiphonError(
          'TIMEOUT',
          `No answer from ${subject} within ${options.timeoutMs} ms. Call again.`,
        );
      case 'disconnected': {
        const refused = this.deps.requester.refusedLogin;
        if (refused !== undefined) throw refused;
        const message = `The connection to NATS at ${this.deps.shownServers} is down: no answer from ${subject}. Start nats-server. The connection comes back automatically.`;
        throw new AntiphonError('LOG_UNAVAILABLE', message);
      }
    }
  }

  subscribe(
    subject: string,
    handler: (request: BusRequest) => void,
    options: { readonly queue?: string } = {},
  ): BusSubscription {
    assertSubscribeSubject(subject);
    if (options.queue !== undefined) assertPublishSubject(options.queue);
    const { link, problems } = this.deps;
    const receive = (message: Msg): void => handler(this.#toRequest(message));
    return link.subscribe(subject, { ...options, callback: problems.guard(subject, receive) });
  }

  #toRequest(message: Msg): BusRequest {
    const { subject, data, reply, headers } = message;
    const request = {
      ...{ subject, data },
      ...(headers && { header: (name: string) => headers.get(name, Match.IgnoreCase) || undefined }),
    };
    if (reply === undefined || reply === '' || !this.#mayAnswer(subject, reply)) return request;
    return { ...request, respond: (answer, fields) => this.#respond(reply, answer, fields) };
  }

  /**
   * NATS asks only whether this client may publish there: whoever may ask it something could have
   * it write into the log, or give other replicas orders.
   */
  #mayAnswer(subject: string, reply: string): boolean {
    const tokens = reply.split('.');
    const isOf = (wanted: readonly string[]): boolean =>
      wanted.length === tokens.length && wanted.every((token, n) => token === '*' || token === tokens[n]);
    if (!OF_REPLICAS.test(reply) && !this.#noAnswers.some(isOf)) return true;
    const message = `A request on ${subject} wants its answer on ${reply}, which is not an inbox. It gets none.`;
    this.deps.problems.report(new AntiphonError('BAD_OPTION', message));
    return false;
  }

  #respond(subject: string, answer: Uint8Array, fields: BusHeaders | undefined): void {
    if (this.deps.watch.state !== 'connected') return;
    const headers = fields && new MessageHeaders(printable(fields));
    const failed = publishSafely(this.deps.link, subject, answer, undefined, headers);
    if (failed !== undefined && failed.code !== 'CLOSED') throw failed;
  }
}

/** A line break would be a header more, or the end of them. */
function printable(fields: BusHeaders): BusHeaders {
  const entries = Object.entries(fields).map(([name, value]) => [
    name,
    value.replaceAll(/[\s\p{Cc}]+/gu, ' ').replaceAll(/[^\x20-\x7e]/gu, '?'),
  ]);
  return Object.fromEntries(entries) as BusHeaders;
}
