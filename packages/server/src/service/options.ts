import { AntiphonError, checkOptions, OPTION, type OptionKind, type OptionNames } from '@antiphon/core';
import type { Logger } from '@antiphon/replica';
import { silentLogger } from '@antiphon/replica/internal';
import { ServerCertificate, type ServerTls } from './certificate.js';
import { isLoopback, parseListen, type Endpoint } from './listen.js';
import { Tokens, type ServerToken } from './tokens.js';

/** Bounds of an HTTP service: what one client, or all of them, may take. */
export interface ServerLimits {
  /**
   * Bytes of a request's body; more are refused with 413.
   * @defaultValue 1 MiB
   */
  readonly bodyBytes: number;
  /**
   * Bytes of the result of a query, about; more are BAD_SQL.
   * @defaultValue 8 MiB
   */
  readonly resultBytes: number;
  /**
   * Connections at once; those beyond are closed at once.
   * @defaultValue 1000
   */
  readonly connections: number;
  /**
   * Reads and writes at once; those beyond are refused with 429.
   * @defaultValue 256
   */
  readonly requests: number;
  /**
   * Requests of one client within a second; those beyond are refused with 429. A client is a token,
   * or the address of whoever has none. Probes are not counted.
   * @defaultValue 10 000
   */
  readonly requestsPerSecond: number;
  /**
   * Streams of changes at once; those beyond are refused with 429.
   * @defaultValue 100
   */
  readonly streams: number;
  /**
   * Milliseconds until the headers of a request have to be there; the connection ends then.
   * @defaultValue 10 000
   */
  readonly headersTimeoutMs: number;
  /**
   * Milliseconds until a whole request has to be there; the connection ends then.
   * @defaultValue 30 000
   */
  readonly requestTimeoutMs: number;
  /**
   * Milliseconds that a connection is kept between two requests.
   * @defaultValue 60 000
   */
  readonly keepAliveMs: number;
  /**
   * Milliseconds in which a client has to take some of an answer; the connection ends then.
   * @defaultValue 30 000
   */
  readonly slowReaderMs: number;
  /**
   * Between two signs of life in a stream of changes, milliseconds.
   * @defaultValue 15 000
   */
  readonly heartbeatMs: number;
  /**
   * Milliseconds between `/readyz` answering 503 and the end of the first connection, for a load
   * balancer to notice.
   * @defaultValue 0
   */
  readonly drainMs: number;
  /**
   * Milliseconds that requests under way have to end in, when the server closes.
   * @defaultValue 10 000
   */
  readonly graceMs: number;
}

/** Where a server listens, who may ask it, and its bounds. */
export interface ServerOptions {
  /**
   * Address and port; port 0 takes any that is free. Beyond this machine's own addresses
   * (`127.0.0.1`, `[::1]`, `localhost`) `tokens` are needed.
   * @defaultValue '127.0.0.1:7070'
   */
  readonly listen?: string;
  /**
   * Who may ask. With none, everybody who reaches the address may do everything.
   * @defaultValue none
   */
  readonly tokens?: readonly ServerToken[];
  /**
   * With it the server speaks HTTPS, and nothing else. Files are looked at every two seconds, so
   * renewed ones take effect without a restart.
   * @defaultValue none: HTTP
   */
  readonly tls?: ServerTls;
  /** Those of `DEFAULT_SERVER_LIMITS`, where they are left out. */
  readonly limits?: Partial<ServerLimits>;
  /**
   * Where it says what happens.
   * @defaultValue nowhere
   */
  readonly logger?: Logger;
}

/** What bounds a server, where its options do not say otherwise. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  bodyBytes: 1024 * 1024,
  resultBytes: 8 * 1024 * 1024,
  connections: 1000,
  requests: 256,
  requestsPerSecond: 10_000,
  streams: 100,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveMs: 60_000,
  slowReaderMs: 30_000,
  heartbeatMs: 15_000,
  drainMs: 0,
  graceMs: 10_000,
};

export interface ServerSettings {
  readonly address: Endpoint;
  readonly tokens: Tokens;
  readonly certificate?: ServerCertificate;
  readonly limits: ServerLimits;
  readonly logger: Logger;
}

const DEFAULT_LISTEN = '127.0.0.1:7070';
const MAX_LIMIT = 2 ** 31 - 1;
const OPTIONS: OptionNames<ServerOptions> = {
  ...{ listen: true, tokens: true, tls: true, limits: true, logger: true },
};
export const POSITIVE: OptionKind = {
  give: `a whole number from 1 to ${MAX_LIMIT}`,
  is: (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_LIMIT,
};
const LIMITS: OptionNames<ServerLimits> = {
  bodyBytes: POSITIVE,
  resultBytes: POSITIVE,
  connections: POSITIVE,
  requests: POSITIVE,
  requestsPerSecond: POSITIVE,
  streams: POSITIVE,
  headersTimeoutMs: POSITIVE,
  requestTimeoutMs: POSITIVE,
  keepAliveMs: POSITIVE,
  slowReaderMs: POSITIVE,
  heartbeatMs: POSITIVE,
  drainMs: OPTION.milliseconds,
  graceMs: OPTION.milliseconds,
};

/** Throws BAD_OPTION. */
export function resolveServerOptions(options: ServerOptions): ServerSettings {
  checkOptions(options, OPTIONS, 'createServer()');
  checkOptions(options.limits, LIMITS, '`limits` of createServer()');
  const address = parseListen(options.listen ?? DEFAULT_LISTEN);
  const tokens = new Tokens(options.tokens);
  if (!isLoopback(address.host) && !tokens.areNeeded) {
    const message =
      `\`listen\` is ${address.host}, which others than this machine reach, and there are no \`tokens\`. ` +
      'Give tokens, or listen on 127.0.0.1.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  const limits = withDefaults(DEFAULT_SERVER_LIMITS, options.limits);
  const certificate = options.tls && new ServerCertificate(options.tls);
  const logger = options.logger ?? silentLogger;
  return { address, tokens, limits, logger, ...(certificate && { certificate }) };
}

/** What is given as `undefined` is not given. */
export function withDefaults<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...(Object.fromEntries(set) as Partial<T>) };
}
