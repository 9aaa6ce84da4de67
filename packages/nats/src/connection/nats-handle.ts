import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, type LogConnection } from '@antiphon/core';
import { connect, type NatsConnection, type ServerInfo } from 'nats';
import { NatsBus } from '../bus/nats-bus.js';
import { JetStreamApi } from '../jetstream/api.js';
import { JetStreamLog } from '../log/jetstream-log.js';
import type { LogOptions } from '../log/log-options.js';
import { KvRegistry } from '../registry/kv-registry.js';
import { settleConnectOptions, type ConnectNatsOptions, type ConnectSettings } from './connect-options.js';
import { ConnectionWatch } from './connection-watch.js';
import { whyNobodyGreets } from './greeting.js';
import { ProblemReporter } from './problem-reporter.js';
import { Requester } from './requester.js';

const FLUSH_TIMEOUT_MS = 500;
const CLOSE_TIMEOUT_MS = 1000;

/**
 * One connection to NATS, and the ports on it. Lost connections come back by themselves.
 *
 * ```ts
 * await using nats = await connectNats({ servers: 'nats://127.0.0.1:4222', name: 'antiphon shop eu-1' });
 * const log = nats.log('shop');
 * const { generation, lastSeq } = await log.open({ create: true });
 * ```
 *
 * @throws AntiphonError LOG_UNAVAILABLE when no server answers in time, BAD_OPTION.
 */
export async function connectNats(options: ConnectNatsOptions): Promise<NatsHandle> {
  const settings = settleConnectOptions(options);
  const startMs = performance.now();
  // A server that expects TLS at once doesn't greet first.
  const refusal =
    options.tls === undefined ? await whyNobodyGreets(settings.urls, settings.connectTimeoutMs) : undefined;
  if (refusal !== undefined) throw unreachable(settings, refusal);
  const connection = await dial(settings, settings.connectTimeoutMs - (performance.now() - startMs));
  return new NatsHandle(connection, settings, new ProblemReporter(options.onProblem ?? (() => undefined)));
}

async function dial(settings: ConnectSettings, timeoutMs: number): Promise<NatsConnection> {
  const connecting = connect(settings.client);
  const giveUp = new AbortController();
  const limit = sleep(Math.max(1, timeoutMs), undefined, { signal: giveUp.signal }).catch(() => undefined);
  try {
    const connection = await Promise.race([connecting, limit]);
    if (connection === undefined) throw new Error(`no connection within ${settings.connectTimeoutMs} ms`);
    return connection;
  } catch (error) {
    // It may still succeed, for nobody.
    connecting.then((late) => late.close()).catch(() => undefined);
    throw unreachable(settings, error);
  } finally {
    giveUp.abort();
  }
}

export class NatsHandle {
  /** For `describeServer` and tests; the ports are the way to use it. */
  readonly api: JetStreamApi;
  readonly requester: Requester;
  readonly #watch: ConnectionWatch;
  readonly #bus: NatsBus;
  readonly #logs = new Set<JetStreamLog>();
  #closing: Promise<void> | undefined;

  constructor(
    readonly connection: NatsConnection,
    private readonly settings: ConnectSettings,
    private readonly problems: ProblemReporter,
  ) {
    const { shownServers, requestTimeoutMs } = settings;
    this.#watch = new ConnectionWatch(connection, problems);
    this.requester = new Requester(connection, this.#watch, problems);
    this.api = new JetStreamApi(this.requester, requestTimeoutMs, shownServers);
    this.#bus = new NatsBus({
      connection,
      watch: this.#watch,
      requester: this.requester,
      problems,
      shownServers,
    });
  }

  /** A log of its own on this connection; it is closed with it at the latest. */
  log(cluster: string, options: LogOptions = {}): JetStreamLog {
    const { connection, requester, api, problems } = this;
    const parts = { connection, watch: this.#watch, problems, requester, api };
    const log = new JetStreamLog(parts, cluster, options, (closed) => this.#logs.delete(closed));
    this.#logs.add(log);
    return log;
  }

  bus(): NatsBus {
    return this.#bus;
  }

  registry(cluster: string, options: { readonly replicas?: number } = {}): KvRegistry {
    const { requestTimeoutMs } = this.settings;
    return new KvRegistry({ requester: this.requester, api: this.api, requestTimeoutMs }, cluster, options);
  }

  get status(): LogConnection {
    return this.#watch.state;
  }

  onStatus(listener: (status: LogConnection) => void): () => void {
    return this.#watch.on(listener);
  }

  get reconnects(): number {
    return this.#watch.reconnects;
  }

  /** How often a handler threw, or the server reported an error. */
  get problemCount(): number {
    return this.problems.count;
  }

  /** The addresses asked for, without passwords. */
  get servers(): string {
    return this.settings.shownServers;
  }

  /** Of the server connected to last. */
  get serverInfo(): ServerInfo | undefined {
    return this.connection.info;
  }

  /** One round trip, in milliseconds. @throws AntiphonError LOG_UNAVAILABLE */
  async rtt(): Promise<number> {
    const startMs = performance.now();
    if (this.status === 'connected' && (await this.#flush(this.settings.requestTimeoutMs))) {
      return performance.now() - startMs;
    }
    const message = `NATS at ${this.servers} does not answer. Start nats-server; the connection comes back by itself.`;
    throw new AntiphonError('LOG_UNAVAILABLE', message);
  }

  /**
   * Says within about a second when there is certainly no JetStream here. A server that does not answer is no finding.
   * @throws AntiphonError LOG_UNAVAILABLE, ABORTED
   */
  assertJetStream(signal?: AbortSignal): Promise<void> {
    return this.api.assertEnabled(signal);
  }

  /** Sends what is waiting, then hangs up. Takes no longer than about a second and a half, also without a server. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#logs].map((log) => log.close()));
    if (this.status === 'connected') await this.#flush(FLUSH_TIMEOUT_MS);
    this.#watch.close();
    await within(this.connection.close(), CLOSE_TIMEOUT_MS);
    this.#watch.hangUp();
  }

  /** False when the server did not answer in time. */
  async #flush(timeoutMs: number): Promise<boolean> {
    return within(this.connection.flush(), timeoutMs);
  }
}

/** Did it end well in time? */
async function within(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const inTime = new AbortController();
  const limit = sleep(timeoutMs, false, { signal: inTime.signal }).catch(() => false);
  const done = work.then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([done, limit]);
  } finally {
    inTime.abort();
  }
}

function unreachable(settings: ConnectSettings, cause: unknown): AntiphonError {
  const { shownServers } = settings;
  const text = cause instanceof Error ? cause.message : String(cause);
  const denied = /auth/i.test(text);
  const advice = denied
    ? 'Check the user name, password, token or credentials.'
    : 'Start nats-server there, or correct `servers`.';
  const message = `No NATS server at ${shownServers} could be used (${text}). ${advice}`;
  return new AntiphonError('LOG_UNAVAILABLE', message, { cause, context: { servers: shownServers } });
}
