import { isRecord } from '@antiphon/core';
import type { FastifyInstance } from 'fastify';
import { HttpError } from './http-error.js';

/** RFC 8259 asks for UTF-8. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** Of JSON that is valid: strings, which may hold anything, and numbers. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MAY_BE_WHOLE = /\d(?:\.0+(?!\d)|(?:\.\d+)?[eE])/;
const INTEGER = /^-?\d+$/;
/** Telling them apart takes microseconds each, in which nothing else is done. */
const MOST_WHOLE_FLOATS = 50_000;

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
    // It calls what it is given.
    void parse(request, text, (error: Error | null, parsed?: unknown) => {
      if (error !== null) return done(error);
      try {
        done(null, withWholeFloats(text, parsed));
      } catch (thrown) {
        if (thrown instanceof HttpError) return done(thrown);
        done(new HttpError('BAD_REQUEST', 'The body is nested too deeply. Send less at once.'));
      }
    });
  });
}

/** Throws what JSON.parse does. */
export function parseWithWholeFloats(text: string): unknown {
  return withWholeFloats(text, JSON.parse(text));
}

/**
 * `parsed` is what JSON.parse makes of the text, which does not tell 5.0 from 5: among parameters
 * of statements, a number that was written with a point or an exponent is a float, {"real": 5}.
 */
function withWholeFloats(text: string, parsed: unknown): unknown {
  if (!MAY_BE_WHOLE.test(text)) return parsed;
  let count = 0;
  const marked = text.replace(TOKEN, (token) => {
    if (token.startsWith('"') || INTEGER.test(token) || !Number.isInteger(Number(token))) return token;
    if (++count > MOST_WHOLE_FLOATS) throw tooManyFloats();
    return `{"real":${token}}`;
  });
  return marked === text ? parsed : outsideParams(JSON.parse(marked));
}

/** Everywhere else, a number is a number. */
function outsideParams(item: unknown): unknown {
  if (Array.isArray(item)) return item.map(outsideParams);
  if (!isRecord(item)) return item;
  const { real, ...others } = item;
  if (typeof real === 'number' && Object.keys(others).length === 0) return real;
  const fields = Object.entries(item).map(
    ([name, field]) => [name, name === 'params' ? field : outsideParams(field)] as const,
  );
  return Object.fromEntries(fields);
}

function tooManyFloats(): HttpError {
  const message = `The body has more than ${MOST_WHOLE_FLOATS} numbers such as 5.0. Send fewer at once.`;
  return new HttpError('BAD_REQUEST', message);
}
