import { type Client, formatSessionPlace, parseSessionPlace, type Session } from '@antiphon/client';
import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * The session of each request: it goes on from what the header says that its sender has seen, and
 * the answer says what it has seen by then. So whoever sends the header back reads its own writes,
 * whichever instance of the service answers.
 */
export class SessionHeader {
  readonly #sessions = new WeakMap<FastifyRequest, Session>();
  readonly #ended = new WeakSet<FastifyReply>();

  constructor(
    private readonly client: Client,
    readonly name: string,
  ) {}

  /** Throws BAD_OPTION when the header cannot be read. */
  of(request: FastifyRequest): Session {
    const known = this.#sessions.get(request);
    if (known !== undefined) return known;
    const session = this.client.session(this.#place(request));
    this.#sessions.set(request, session);
    return session;
  }

  /** What it has seen counts for nobody any more: its sender is to begin anew. */
  end(reply: FastifyReply): void {
    this.#ended.add(reply);
  }

  answer(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#ended.has(reply)) return void reply.header(this.name, '');
    const token = this.#sessions.get(request)?.token;
    if (token !== undefined) void reply.header(this.name, formatSessionPlace(token));
  }

  #place(request: FastifyRequest): Parameters<Client['session']>[0] {
    const header = request.headers[this.name];
    return header === undefined || header === '' ? undefined : parseSessionPlace(String(header), this.name);
  }
}
