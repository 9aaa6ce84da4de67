import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, checkOptions, type LogConnection } from '@antiphon/core';
import { connect, type NatsConnection, type ServerInfo } from 'nats';
import { NatsBus } from '../bus/nats-bus.js';
import { JetStreamApi } from '../jetstream/api.js';
import { JetStreamLease } from '../lease/jetstream-lease.js';
import { JetStreamLog } from '../log/jetstream-log.js';
import type { LogOptions } from '../log/log-options.js';
import type { ChangesStream } from '../publication/changes-stream.js';
import { JetStreamPublication } from '../publication/jetstream-publication.js';
import { KvRegistry } from '../registry/kv-registry.js';
import { logSubject } from '../subjects.js';
import { certificateWanted, unusable } from './connect-failure.js';
import { settleConnectOptions, type ConnectNatsOptions, type ConnectSettings } from './connect-options.js';
import { ConnectionWatch } from './connection-watch.js';
import { Denials } from './denials.js';
import { greetingOf } from './greeting.js';
import { Link } from './link.js';
import { MessageHeaders } from './message-headers.js';
import { ProblemReporter } from './problem-reporter.js';
import { Requester } from './requester.js';
import { handshakeProblem } from './tls-probe.js';
import { within } from './within.js';

const APPEND_CHECK_TIMEOUT_MS = 1500;
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
 * @throws AntiphonError LOG_UNAVAILABLE when no server answers in time, ACCESS_DENIED when it
 *   refuses the login or the certificates don't fit, BAD_OPTION.
 */
export async function connectNats(options: ConnectNatsOptions): Promise<NatsHandle> {
  const settings = settleConnectOptions(options);
  const startMs = performance.now();
  // A server that expects TLS at once doesn't greet first.
  if (options.tls?.handshakeFirst !== true) {
    const greeting = await greetingOf(settings.urls, settings.connectTimeoutMs);
    if (greeting.type === 'none') throw unusable(settings, new Error(greeting.reason));
    if (greeting.tlsVerify && options.tls?.cert === undefined) throw certificateWanted(settings);
  }
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
    throw unusable(settings, (await certificateProblem(settings)) ?? error);
  } finally {
    giveUp.abort();
  }
}

/** A timeout may hide that the server does not accept this client's certificate. */
async function certificateProblem({ urls: [server], client }: ConnectSettings): Promise<Error | undefined> {
  const { tls } = client;
  if (server === undefined || !tls || (tls.cert ?? tls.certFile) === undefined) return undefined;
  return handshakeProblem(server, tls);
}

export class NatsHandle {
  /** For `describeServer` and tests; the ports are the way to use it. */
  readonly api: JetStreamApi;
  readonly requester: Requester;
  /** What NATS does not permit this client. */
  readonly denials: Denials;
  readonly #connection: NatsConnection;
  readonly #settings: ConnectSettings;
  readonly #problems: ProblemReporter;
  readonly #watch: ConnectionWatch;
  readonly #link: Link;
  readonly #bus: NatsBus;
  readonly #logs = new Set<JetStreamLog>();
  #closing: Promise<void> | undefined;

  constructor(connection: NatsConnection, settings: ConnectSettings, problems: ProblemReporter) {
    const { shownServers, requestTimeoutMs, inboxPrefix } = settings;
    this.#connection = connection;
    this.#settings = settings;
    this.#problems = problems;
    this.denials = new Denials(shownServers, inboxPrefix);
    this.#watch = new ConnectionWatch(connection, problems, this.denials);
    this.#link = new Link(connection, this.#watch, this.denials, inboxPrefix);
    this.requester = new Requester(this.#link, this.#watch, problems);
    this.api = new JetStreamApi(this.requester, requestTimeoutMs, shownServers);
    this.#bus = new NatsBus({
      link: this.#link,
      watch: this.#watch,
      requester: this.requester,
      problems,
      shownServers,
    });
  }

  /**
   * The client's own connection, for tests. A getter: whoever prints this object does not print it.
   */
  get connection(): NatsConnection {
    return this.#connection;
  }

  /** A log of its own on this connection; it is closed with it at the latest. */
  log(cluster: string, options: LogOptions = {}): JetStreamLog {
    const { requester, api } = this;
    const deps = { link: this.#link, watch: this.#watch, problems: this.#problems, requester, api };
    const log = new JetStreamLog(deps, cluster, options, (closed) => this.#logs.delete(closed));
    this.#logs.add(log);
    return log;
  }

  bus(): NatsBus {
    return this.#bus;
  }

  registry(cluster: string, options: { readonly replicas?: number } = {}): KvRegistry {
    checkOptions(options, { replicas: true }, 'registry()');
    const { requestTimeoutMs } = this.#settings;
    return new KvRegistry({ requester: this.requester, api: this.api, requestTimeoutMs }, cluster, options);
  }

  lease(cluster: string): JetStreamLease {
    const { requester, api } = this;
    const { access } = this.#settings;
    return new JetStreamLease(
      { access, link: this.#link, problems: this.#problems, requester, api },
      cluster,
    );
  }

  /** The stream that changes are published to; close it. */
  publication(wanted: ChangesStream): JetStreamPublication {
    const { api } = this;
    this.#bus.answerNowhereIn(wanted.subjects);
    return new JetStreamPublication(
      { link: this.#link, watch: this.#watch, problems: this.#problems, api },
      wanted,
    );
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
    return this.#problems.count;
  }

  /** The addresses asked for, without passwords. */
  get servers(): string {
    return this.#settings.shownServers;
  }

  /** Of the server connected to last. */
  get serverInfo(): ServerInfo | undefined {
    return this.#connection.info;
  }

  /** One round trip, in milliseconds. @throws AntiphonError LOG_UNAVAILABLE */
  async rtt(): Promise<number> {
    const startMs = performance.now();
    if (this.status === 'connected' && (await this.#flush(this.#settings.requestTimeoutMs))) {
      return performance.now() - startMs;
    }
    const refused = this.requester.refusedLogin;
    if (refused !== undefined) throw refused;
    const message = `NATS at ${this.servers} does not answer. Start nats-server. The connection comes back automatically.`;
    throw new AntiphonError('LOG_UNAVAILABLE', message);
  }

  /**
   * Says within about a second when there is certainly no JetStream here. A server that does not
   * answer is no finding.
   * @throws AntiphonError LOG_UNAVAILABLE, ABORTED
   */
  assertJetStream(signal?: AbortSignal): Promise<void> {
    return this.api.assertEnabled(signal);
  }

  /**
   * May this client write to the log under this name? Asks with an entry that no stream accepts, so
   * that nothing is left behind.
   * @throws AntiphonError ACCESS_DENIED; no answer at all is no finding.
   */
  async assertMayAppend(cluster: string, origin: string): Promise<void> {
    const headers = new MessageHeaders({ 'Nats-Expected-Stream': 'none' });
    const options = { timeoutMs: APPEND_CHECK_TIMEOUT_MS, headers };
    const outcome = await this.requester.request(logSubject(cluster, origin), new Uint8Array(0), options);
    if (outcome.type === 'denied') throw outcome.error;
  }

  /**
   * Sends what is waiting, then hangs up. Takes no longer than about a second and a half, also
   * without a server.
   */
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
    await within(this.#connection.close(), CLOSE_TIMEOUT_MS);
    this.#watch.hangUp();
    this.denials.close();
  }

  /** False when the server did not answer in time. */
  async #flush(timeoutMs: number): Promise<boolean> {
    return within(this.#connection.flush(), timeoutMs);
  }
}
