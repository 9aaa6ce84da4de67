import { AntiphonError, checkRequired, OPTION, type OptionKind, type OptionNames } from '@antiphon/core';
import type { ConnectionOptions } from 'nats';
import { authenticatorFor, type NatsLogin } from './login.js';
import { parseServers } from './server-address.js';
import { tlsOptionsFor, type NatsTls } from './tls.js';

/** Which NATS, and how to log in there. */
export interface NatsAccess extends NatsLogin {
  /**
   * Addresses of NATS: `nats://host:port`, several as a list or separated by commas.
   * `user:password@` and `token@` are honoured.
   */
  readonly servers: string | readonly string[];
  /** An encrypted connection; also asked for by `tls://` in an address. */
  readonly tls?: NatsTls;
  /**
   * What the subjects of answers begin with, for users that may subscribe to their own inbox only.
   * @defaultValue '_INBOX'
   */
  readonly inboxPrefix?: string;
}

export interface ConnectNatsOptions extends NatsAccess {
  /** Shown by the server's monitoring, for example `antiphon shop eu-1`. */
  readonly name?: string;
  /** For the first connection; default 5 s. Later ones are tried for ever. */
  readonly connectTimeoutMs?: number;
  /** How long a request to JetStream may take, retries included; default 5 s. */
  readonly requestTimeoutMs?: number;
  /**
   * Called for what no caller gets to see: a handler that threw, an error of the server. At most
   * once a second.
   */
  readonly onProblem?: (problem: AntiphonError) => void;
}

/** Texts are looked at one by one. */
const SERVERS: OptionKind = {
  give: 'an address like nats://127.0.0.1:4222, or a list of them',
  is: (value) => OPTION.text.is(value) || OPTION.names.is(value),
};

const CONNECT_OPTIONS: OptionNames<ConnectNatsOptions> = {
  ...{
    servers: SERVERS,
    user: OPTION.text,
    password: OPTION.text,
    token: OPTION.text,
    nkey: OPTION.text,
    creds: OPTION.text,
    tls: true,
  },
  ...{
    inboxPrefix: OPTION.text,
    name: OPTION.text,
    connectTimeoutMs: OPTION.milliseconds,
    requestTimeoutMs: OPTION.milliseconds,
  },
  onProblem: OPTION.callback,
};
const CONNECT_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 5000;
/** A stopped server still accepts connections; this is how long its greeting is waited for. */
const DIAL_TIMEOUT_MS = 2000;
const RECONNECT_WAIT_MS = 150;
const RECONNECT_JITTER_MS = 150;
/** Tokens of a subject, without wildcards. */
const INBOX_PREFIX = /^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$/;

export interface ConnectSettings {
  /**
   * As given, for another thread that connects likewise. A function: whoever prints the settings
   * prints no password.
   */
  readonly access: () => ConnectNatsOptions;
  readonly urls: readonly URL[];
  /** For messages: without user names and passwords. */
  readonly shownServers: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly inboxPrefix: string | undefined;
  readonly client: ConnectionOptions;
}

/** @throws AntiphonError BAD_OPTION */
export function settleConnectOptions(options: ConnectNatsOptions): ConnectSettings {
  checkRequired(options, CONNECT_OPTIONS, 'connectNats()', ['servers']);
  const addresses = parseServers(options.servers);
  const { urls, hosts, shown, login } = addresses;
  const { inboxPrefix, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  if (inboxPrefix !== undefined && !INBOX_PREFIX.test(inboxPrefix)) {
    throw new AntiphonError(
      'BAD_OPTION',
      '`inboxPrefix` is not the beginning of a subject. Give words without wildcards, separated by dots, like _INBOX_eu-1.',
    );
  }
  const authenticator = authenticatorFor(options, login);
  const tls = tlsOptionsFor(options.tls, addresses);
  const { onProblem: _, ...access } = options;
  return {
    access: () => access,
    urls,
    shownServers: shown,
    connectTimeoutMs,
    requestTimeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    inboxPrefix,
    client: {
      servers: [...hosts],
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(authenticator === undefined ? {} : { authenticator }),
      ...(tls === undefined ? {} : { tls }),
      ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
      timeout: Math.min(DIAL_TIMEOUT_MS, connectTimeoutMs),
      // Finds a server that is stopped, or a cable that is pulled, within three seconds.
      pingInterval: 1000,
      maxPingOut: 2,
      noAsyncTraces: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_WAIT_MS,
      reconnectJitter: RECONNECT_JITTER_MS,
      reconnectJitterTLS: RECONNECT_JITTER_MS,
      // Two failed logins in a row would end the connection for good, for instance while a server
      // is reconfigured.
      ignoreAuthErrorAbort: true,
    },
  };
}
