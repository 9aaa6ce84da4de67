import { AntiphonError, type ErrorCode, type ErrorContext, redact } from '@antiphon/core';
import { toJsonTree } from './json-value.js';

/**
 * The status of each error: the caller's mistake (4xx), the state of the cluster, which may be
 * another one in a moment (503), the time limit (504), or something to be repaired (500).
 */
export const STATUS_OF: Readonly<Record<ErrorCode, number>> = {
  BAD_OPTION: 400,
  BAD_SQL: 400,
  MALFORMED_MESSAGE: 400,
  UNKNOWN_TABLE: 404,
  NOT_WRITABLE: 409,
  NOT_PRIMARY: 409,
  CONFLICT: 409,
  SESSION_LOST: 409,
  SUBSCRIPTION_LOST: 409,
  PLACE_LOST: 409,
  DELETES_ROWS: 409,
  MEMBER_RUNNING: 409,
  MESSAGE_TOO_LARGE: 413,
  CONSTRAINT: 422,
  UNEXPECTED_ROWS: 422,
  UNSUPPORTED_TABLE: 422,
  OVERLOADED: 429,
  NODE_TOO_OLD: 500,
  UNSUPPORTED_FORMAT: 500,
  UNKNOWN_ORIGIN: 500,
  REMOTE: 500,
  STORE_CORRUPT: 500,
  STORE_FAILED: 500,
  STORE_CONTENT: 500,
  LOG_REFUSED: 500,
  CLUSTER_MISMATCH: 500,
  NATS_SERVER_NOT_FOUND: 500,
  NATS_SERVER_START: 500,
  INTERNAL: 500,
  CLOSED: 503,
  ABORTED: 503,
  NOT_IN_SYNC: 503,
  CLOCK_SKEW: 503,
  ACTOR_STOPPED: 503,
  NO_ACTOR: 503,
  STORE_BUSY: 503,
  STORE_FULL: 503,
  STORE_UNAVAILABLE: 503,
  STORE_REPLACED: 503,
  SCHEMA_DRIFT: 503,
  APPLY_REFUSED: 503,
  LOG_UNAVAILABLE: 503,
  // NATS refuses this replica: whoever asks here can do nothing about it.
  ACCESS_DENIED: 503,
  LOG_REPLACED: 503,
  DUPLICATE_REPLICA: 503,
  MEMBER_REMOVED: 503,
  TIMEOUT: 504,
  OUTCOME_UNKNOWN: 504,
};

/** What only HTTP can refuse, before a replica is asked. */
export const HTTP_CODES = {
  BAD_REQUEST: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  UNSUPPORTED_MEDIA_TYPE: 415,
  EXPECTATION_FAILED: 417,
  HEADERS_TOO_LARGE: 431,
  SHUTTING_DOWN: 503,
} as const;

export type HttpCode = keyof typeof HTTP_CODES;

const RETRIABLE: ReadonlySet<HttpCode> = new Set(['REQUEST_TIMEOUT', 'SHUTTING_DOWN']);

/** Of a request that no replica was asked about. */
export class HttpError extends Error {
  constructor(
    readonly code: HttpCode,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'HttpError';
  }
}

/** The body of every answer that is an error. */
export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode | HttpCode;
    readonly message: string;
    /** The same request may succeed later, unchanged. */
    readonly retriable: boolean;
    readonly context: Readonly<Record<string, unknown>>;
  };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody;
  /** A defect: somebody should look at it. */
  readonly isDefect: boolean;
}

const RETRY_AFTER_S = '1';
const MAX_MESSAGE = 2000;

export function errorAnswer(thrown: unknown): ErrorAnswer {
  if (thrown instanceof HttpError) return ofHttp(thrown);
  const refused = thrown instanceof AntiphonError ? undefined : refusalOf(thrown);
  if (refused instanceof HttpError) return ofHttp(refused);
  const error = refused ?? thrown;
  if (error instanceof AntiphonError) return ofAntiphon(error);
  // What it says may hold anything: it is for the log.
  const message = 'The server failed. Its log says why.';
  return ofAntiphon(new AntiphonError('INTERNAL', message, { cause: error }));
}

function ofAntiphon({ code, message, retriable, context }: AntiphonError): ErrorAnswer {
  const status = STATUS_OF[code];
  return {
    status,
    headers: whenToCome(status, retriable),
    body: { error: { code, message: bounded(message), retriable, context: plain(context) } },
    isDefect: code === 'INTERNAL',
  };
}

/** SQLite repeats what it does not understand, however long that is. */
function bounded(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`;
}

/** Keys of rows are values of a database. */
function plain(context: ErrorContext): Readonly<Record<string, unknown>> {
  return toJsonTree(context) as Readonly<Record<string, unknown>>;
}

function ofHttp({ code, message, headers }: HttpError): ErrorAnswer {
  const status = HTTP_CODES[code];
  const retriable = RETRIABLE.has(code);
  const body = { error: { code, message: redact(message), retriable, context: {} } };
  return { status, headers: { ...headers, ...whenToCome(status, retriable) }, body, isDefect: false };
}

function whenToCome(status: number, retriable: boolean): Readonly<Record<string, string>> {
  return retriable && (status === 429 || status === 503) ? { 'retry-after': RETRY_AFTER_S } : {};
}

/** Of a server that ends: new requests find another one. */
export function shuttingDown(): HttpError {
  return new HttpError('SHUTTING_DOWN', 'This server is shutting down. Send the request to another replica.');
}

/** What Fastify refused. */
function refusalOf(thrown: unknown): HttpError | AntiphonError | undefined {
  const { statusCode, code } = thrown as { readonly statusCode?: unknown; readonly code?: unknown };
  if (typeof code !== 'string' || typeof statusCode !== 'number' || statusCode >= 500) return undefined;
  if (statusCode === 413) {
    const message =
      'The body is over the limit of this server. Send less at once, or raise `http.bodyBytes`.';
    return new AntiphonError('MESSAGE_TOO_LARGE', message);
  }
  if (statusCode === 415)
    return new HttpError('UNSUPPORTED_MEDIA_TYPE', 'Send JSON, with `Content-Type: application/json`.');
  return new HttpError('BAD_REQUEST', 'The body is not valid JSON. Send a JSON object.');
}
