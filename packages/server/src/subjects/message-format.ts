import {
  AntiphonError,
  decodeDocument,
  type DocumentItem,
  encodeDocument,
  isRecord,
  type Parameter,
  Real,
  TaggedValue,
} from '@antiphon/core';
import { HttpError } from '../http/http-error.js';
import { parseWithWholeFloats } from '../http/exact-json.js';
import { fromJsonValue, ofDatabase, toJsonTree } from '../http/json-value.js';
import type { ValueOf } from '../operations/params.js';

/** How a client writes a request, and reads its answer. */
export interface MessageFormat {
  readonly contentType: string;
  /** Throws BAD_REQUEST, MALFORMED_MESSAGE. */
  decode(data: Uint8Array): unknown;
  readonly valueOf: ValueOf;
  encode(answer: object): Uint8Array;
}

const [decoder, encoder] = [new TextDecoder('utf-8', { fatal: true }), new TextEncoder()];

export const JSON_FORMAT: MessageFormat = {
  contentType: 'application/json',
  decode: (data) => {
    try {
      return parseWithWholeFloats(decoder.decode(data));
    } catch (thrown) {
      if (thrown instanceof HttpError) throw thrown;
      throw new HttpError('BAD_REQUEST', 'The request is not valid JSON. Send a JSON object, in UTF-8.');
    }
  },
  valueOf: fromJsonValue,
  encode: ({ rows, ...fields }: { readonly rows?: unknown }) =>
    encoder.encode(JSON.stringify(toJsonTree({ ...fields, rows: ofDatabase(rows) }))),
};

const MSGPACK_FORMAT: MessageFormat = {
  contentType: 'application/msgpack',
  decode: (data) => withPlainNumbers(decodeDocument(data)),
  valueOf: fromNativeValue,
  encode: ({ rows, ...fields }: { readonly rows?: unknown }) => {
    // What is a number in rows is a float; everywhere else it counts something.
    return encodeDocument({ ...(withIntegers(fields) as object), ...(rows !== undefined && { rows }) });
  },
};

const FORMATS: Readonly<Record<string, MessageFormat>> = {
  'application/json': JSON_FORMAT,
  'application/msgpack': MSGPACK_FORMAT,
  'application/vnd.msgpack': MSGPACK_FORMAT,
  'application/x-msgpack': MSGPACK_FORMAT,
};

/** Without a content type it is JSON. Throws UNSUPPORTED_MEDIA_TYPE. */
export function formatOf(contentType: string | undefined): MessageFormat {
  if (contentType === undefined) return JSON_FORMAT;
  const [type = ''] = contentType.split(';', 1);
  const name = type.trim().toLowerCase();
  const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (format !== undefined) return format;
  const message = 'Send JSON or MessagePack, with `Content-Type: application/json` or `application/msgpack`.';
  throw new HttpError('UNSUPPORTED_MEDIA_TYPE', message);
}

/** MessagePack has what JSON lacks; what JSON says instead is understood as well. */
function fromNativeValue(input: unknown, place: string): Parameter {
  if (input instanceof Uint8Array || input instanceof TaggedValue || typeof input === 'bigint') return input;
  // Any float is one, also without a fraction: it has a type of its own there.
  if (typeof input === 'number') return new Real(input);
  return fromJsonValue(input, place);
}

/** All but parameters of statements, where an integer is another thing than a float. */
function withPlainNumbers(request: DocumentItem): unknown {
  if (!isRecord(request) || request instanceof TaggedValue) return request;
  const { params, statements, ...fields } = request as Readonly<Record<string, unknown>>;
  return {
    ...(toNumbers(fields) as object),
    ...(params !== undefined && { params }),
    ...(statements !== undefined && {
      statements: Array.isArray(statements) ? statements.map(withPlainNumbers) : statements,
    }),
  };
}

/** An integer that a number does not hold is none of a request's. */
function toNumbers(item: unknown): unknown {
  return mapTree(item, (one) => (typeof one === 'bigint' && isSafe(one) ? Number(one) : one));
}

function withIntegers(item: unknown): unknown {
  return mapTree(item, (one) => (typeof one === 'number' && Number.isInteger(one) ? BigInt(one) : one));
}

function mapTree(item: unknown, leaf: (one: unknown) => unknown): unknown {
  if (Array.isArray(item)) return item.map((one) => mapTree(one, leaf));
  if (!isRecord(item) || item instanceof TaggedValue) return leaf(item);
  return Object.fromEntries(Object.entries(item).map(([name, one]) => [name, mapTree(one, leaf)]));
}

function isSafe(integer: bigint): boolean {
  return Number.isSafeInteger(Number(integer));
}

/** Of an answer that does not fit into a message. */
export function tooLarge(bytes: number): AntiphonError {
  const message =
    `The answer takes ${bytes} bytes, which is over the max_payload of nats-server. ` +
    'Ask for less at once, or raise it there.';
  return new AntiphonError('MESSAGE_TOO_LARGE', message, { context: { bytes } });
}
