import type { ServerResponse } from 'node:http';
import type { ChangesOptions, CommittedChange } from '@antiphon/replica';
import type { FastifyReply } from 'fastify';
import { beginEvents } from '../http/event-stream.js';
import { errorAnswer } from '../http/http-error.js';
import { ofDatabase, toJsonTree } from '../http/json-value.js';
import { changesQuery } from '../http/schemas.js';
import { writeTaken } from '../http/write-taken.js';
import { route, type Service } from './route.js';

type Changes = AsyncGenerator<CommittedChange, void, undefined>;

/** A place that the log does not hold any more is an answer of its own, not an event. */
const FIRST_MS = 1000;

export const changesRoute = route({
  method: 'GET',
  path: '/v1/changes',
  summary: 'Follows committed changes, as server-sent events.',
  role: 'read',
  query: changesQuery,
  answers: { 200: { what: 'An event for each change; its `id` is where to go on.' } },
  type: 'text/event-stream',
  run: async (service, { query, headers, signal, reply }) => {
    const { replica, streams, ending } = service;
    const place = headers['last-event-id'];
    const from = (typeof place === 'string' && place !== '' ? place : query.from) ?? 'now';
    const tables = query.tables?.split(',').filter((name) => name !== '');
    const options: ChangesOptions = {
      from,
      ...(tables && { tables }),
      signal: AbortSignal.any([signal, ending]),
    };
    const release = streams.take();
    try {
      const changes = replica.changes(options);
      const first = changes.next();
      // It rejects while nobody waits for it yet.
      first.catch(() => undefined);
      if (from !== 'now') await Promise.race([first, pause(FIRST_MS)]);
      reply.hijack();
      await new EventStream(service, reply).send(changes, first);
    } finally {
      release();
    }
    return undefined;
  },
});

/** Writes events as fast as the client takes them; what it has not taken stays in the log. */
class EventStream {
  private readonly response: ServerResponse;

  constructor(
    private readonly service: Service,
    private readonly reply: FastifyReply,
  ) {
    this.response = reply.raw;
  }

  async send(changes: Changes, first: Promise<IteratorResult<CommittedChange, void>>): Promise<void> {
    const { response } = this;
    beginEvents(this.reply);
    try {
      for (let next = first; ; next = changes.next()) {
        const result = await this.#withHeartbeats(next);
        if (result.done === true || response.destroyed) return;
        await this.#write(eventOf(result.value));
      }
    } catch (error) {
      const isOver = response.destroyed || this.service.ending.aborted;
      if (!isOver) response.write(`event: error\ndata: ${JSON.stringify(errorAnswer(error).body)}\n\n`);
    } finally {
      // What is on its way has to be taken in time as well.
      response.setTimeout(this.service.limits.slowReaderMs, () => response.destroy());
      response.end();
      await changes.return(undefined).catch(() => undefined);
    }
  }

  /** A line that says nothing keeps proxies from ending what seems idle. */
  async #withHeartbeats<T>(work: Promise<T>): Promise<T> {
    const beat = setInterval(() => {
      if (!this.response.writableNeedDrain) this.response.write(': still here\n\n');
    }, this.service.limits.heartbeatMs);
    try {
      return await work;
    } finally {
      clearInterval(beat);
    }
  }

  /** A client that takes nothing for long loses its connection, and resumes where it was. */
  #write(text: string): Promise<void> {
    return writeTaken(this.response, text, this.service.limits.slowReaderMs);
  }
}

function eventOf(change: CommittedChange): string {
  const { cursor, ...fields } = change;
  const [key, before, after] = [change.key, change.before, change.after].map(ofDatabase);
  const shown = JSON.stringify(toJsonTree({ ...fields, key, before, after }));
  return `id: ${cursor}\nevent: change\ndata: ${shown}\n\n`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
