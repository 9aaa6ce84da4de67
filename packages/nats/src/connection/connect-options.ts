import { AntiphonError } from '@antiphon/core';
import { credsAuthenticator, type ConnectionOptions, type TlsOptions } from 'nats';

export interface ConnectNatsOptions {
  /** `nats://host:port`, several as a list or separated by commas; `user:password@` and `token@` are honoured. */
  readonly servers: string | readonly string[];
  /** Shown by the server's monitoring, for example `antiphon shop eu-1`. */
  readonly name?: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** The content of a `.creds` file. */
  readonly credentials?: string;
  readonly tls?: TlsOptions;
  /** For the first connection; default 5 s. Later ones are tried for ever. */
  readonly connectTimeoutMs?: number;
  /** How long a request to JetStream may take, retries included; default 5 s. */
  readonly requestTimeoutMs?: number;
  /** Called for what no caller gets to see: a handler that threw, a permission that is missing. At most once a second. */
  readonly onProblem?: (problem: AntiphonError) => void;
}

const CONNECT_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 5000;
/** A stopped server still accepts connections; this is how long its greeting is waited for. */
const DIAL_TIMEOUT_MS = 2000;
const RECONNECT_WAIT_MS = 150;
const RECONNECT_JITTER_MS = 150;

export interface ConnectSettings {
  readonly urls: readonly URL[];
  /** For messages: without user names and passwords. */
  readonly shownServers: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly client: ConnectionOptions;
}

/** @throws AntiphonError BAD_OPTION */
export function settleConnectOptions(options: ConnectNatsOptions): ConnectSettings {
  const urls = serverList(options.servers).map(parseServer);
  const connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  return {
    urls,
    shownServers: urls.map(({ protocol, host }) => `${protocol}//${host}`).join(', '),
    connectTimeoutMs,
    requestTimeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    client: {
      servers: urls.map(({ host }) => host),
      ...(options.name === undefined ? {} : { name: options.name }),
      ...authentication(options, urls),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      timeout: Math.min(DIAL_TIMEOUT_MS, connectTimeoutMs),
      // Finds a server that is stopped, or a cable that is pulled, within three seconds.
      pingInterval: 1000,
      maxPingOut: 2,
      noAsyncTraces: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_WAIT_MS,
      reconnectJitter: RECONNECT_JITTER_MS,
      reconnectJitterTLS: RECONNECT_JITTER_MS,
      // Two failed logins in a row would end the connection for good, for instance while a server is reconfigured.
      ignoreAuthErrorAbort: true,
    },
  };
}

function serverList(servers: string | readonly string[]): readonly string[] {
  const list = (typeof servers === 'string' ? servers.split(',') : servers).map((server) => server.trim());
  const named = list.filter((server) => server !== '');
  if (named.length === 0) {
    throw new AntiphonError(
      'BAD_OPTION',
      'No NATS server is named. Give `servers`, for example nats://127.0.0.1:4222.',
    );
  }
  return named;
}

function parseServer(server: string): URL {
  const text = server.includes('://') ? server : `nats://${server}`;
  try {
    const url = new URL(text);
    if (url.host !== '' && (url.protocol === 'nats:' || url.protocol === 'tls:')) return url;
  } catch {
    // Told below, without repeating what may hold a password.
  }
  throw new AntiphonError(
    'BAD_OPTION',
    'A NATS server is not a valid address. Write it as nats://host:port.',
  );
}

function authentication(options: ConnectNatsOptions, urls: readonly URL[]): ConnectionOptions {
  if (options.credentials !== undefined) {
    return { authenticator: credsAuthenticator(new TextEncoder().encode(options.credentials)) };
  }
  if (options.token !== undefined) return { token: options.token };
  if (options.user !== undefined) return { user: options.user, pass: options.password ?? '' };
  const named = urls.find(({ username }) => username !== '');
  if (named === undefined) return {};
  const user = decodeURIComponent(named.username);
  return named.password === '' ? { token: user } : { user, pass: decodeURIComponent(named.password) };
}
