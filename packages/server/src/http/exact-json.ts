import type { FastifyInstance } from 'fastify';
import { HttpError } from './http-error.js';

/** RFC 8259 asks for UTF-8. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * JSON that is no UTF-8 is refused: Fastify would put U+FFFD in place of what it cannot read, and
 * the database would keep that without a word. Keys that change prototypes are refused as well.
 */
export function parseExactJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    let text: string;
    try {
      text = UTF8.decode(body);
    } catch {
      done(new HttpError('BAD_REQUEST', 'The body is not valid UTF-8. Send JSON in UTF-8.'));
      return;
    }
    // It calls `done`.
    void parse(request, text, done);
  });
}
