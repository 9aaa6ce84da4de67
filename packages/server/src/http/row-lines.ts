import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { PlacedStream } from '@antiphon/replica/internal';
import type { FastifyReply } from 'fastify';
import type { Service } from '../routes/route.js';
import { errorAnswer } from './http-error.js';
import { ofDatabase, toJsonTree } from './json-value.js';
import { writeTaken } from './write-taken.js';

export const NDJSON = 'application/x-ndjson';

/** Whether the client asks for lines, and does not refuse them. */
export function wantsLines(accept: string | undefined): boolean {
  const types = (accept ?? '').split(',').map((type) => type.trim().toLowerCase());
  return types.some((type) => type.split(';')[0]?.trim() === NDJSON && !/;\s*q=0(\.0*)?\s*(;|$)/.test(type));
}

/**
 * Rows as lines of JSON, as fast as the client takes them: an object with the columns, an array for
 * each row, and an object at the end. Without that last one, rows are missing.
 */
export class RowLines {
  readonly #response: ServerResponse;
  #rows = 0;

  constructor(
    private readonly service: Service,
    private readonly reply: FastifyReply,
  ) {
    this.#response = reply.raw;
  }

  /** Never rejects: from the first line on, the last one says what went wrong. */
  async send({ stream, position }: PlacedStream): Promise<void> {
    const response = this.#response;
    const { slowReaderMs } = this.service.limits;
    this.reply.hijack();
    response.writeHead(200, {
      ...(this.reply.getHeaders() as OutgoingHttpHeaders),
      'content-type': `${NDJSON}; charset=utf-8`,
      // nginx would gather them.
      'x-accel-buffering': 'no',
    });
    try {
      response.write(line({ columns: stream.columns }));
      for (let rows = await stream.next(); rows !== undefined; rows = await stream.next()) {
        this.#rows += rows.length;
        await this.#write(rows.map((row) => line(ofDatabase(row))).join(''));
        if (response.destroyed) return;
      }
      response.write(line({ rows: this.#rows, position }));
    } catch (error) {
      if (!response.destroyed) response.write(line({ rows: this.#rows, ...errorAnswer(error).body }));
    } finally {
      stream.close();
      // What is on its way has to be taken in time as well.
      response.setTimeout(slowReaderMs, () => response.destroy());
      response.end();
    }
  }

  /** A client that takes nothing for long loses its connection, and the stream its snapshot. */
  #write(text: string): Promise<void> {
    return writeTaken(this.#response, text, this.service.limits.slowReaderMs);
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(toJsonTree(value))}\n`;
}
