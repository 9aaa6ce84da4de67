import type { Socket } from 'node:net';
import { AntiphonError } from '@antiphon/core';
import type { Replica } from '@antiphon/replica';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { parseExactJson } from './http/exact-json.js';
import { ClusterWatch } from './cluster/cluster-watch.js';
import { OwnCluster } from './cluster/own-cluster.js';
import { errorAnswer, HttpError, shuttingDown } from './http/http-error.js';
import { refuseConnection, refuseInOneForm } from './http/refuse-connection.js';
import { nothing } from './http/schemas.js';
import { tracedRequest } from './http/traced-request.js';
import { whenOver } from './http/when-over.js';
import { adminRoutes } from './routes/admin.js';
import { changesRoute } from './routes/changes.js';
import { clusterRoutes } from './routes/cluster.js';
import { clusterAdminRoutes } from './routes/cluster-admin.js';
import { clusterQueryRoute } from './routes/cluster-query.js';
import { executeRoute } from './routes/execute.js';
import { metricsRoute } from './routes/metrics.js';
import { probeRoutes as PROBES } from './routes/probes.js';
import { queryRoute } from './routes/query.js';
import { type Answer, type Route, route, type Service } from './routes/route.js';
import { statusRoute } from './routes/status.js';
import { addConsole, readConsole, type ConsoleFile } from './service/console.js';
import { hostOf, isLoopback, type Endpoint } from './service/listen.js';
import { ServerMetrics } from './service/metrics.js';
import { nodeServerOptions } from './service/node-server.js';
import { openApiOf } from './service/openapi.js';
import { resolveServerOptions, type ServerOptions, type ServerSettings } from './service/options.js';
import { clientOf, RateLimit } from './service/rate-limit.js';
import { assertSameOrigin } from './service/same-origin.js';
import { Slots } from './service/slots.js';
import { Turns } from './service/turns.js';
import { subjectWatchOf } from './subjects/subject-watch.js';

/** One replica as an HTTP service, and its console. */
export interface HttpServer extends AsyncDisposable {
  /** Where it listens, for example `http://127.0.0.1:7070`. */
  readonly url: string;
  /** With the port that was free, where port 0 was asked for. */
  readonly address: Endpoint;
  /**
   * Ends in good order: `/readyz` answers 503 at once; after `limits.drainMs` nobody connects any
   * more, streams end, and requests under way have `limits.graceMs` to end. Idempotent. The replica
   * goes on: close it afterwards.
   */
  close(): Promise<void>;
}

const ROUTES: readonly Route[] = [
  ...[executeRoute, queryRoute, statusRoute, changesRoute, metricsRoute],
  ...PROBES,
  ...adminRoutes,
  ...[...clusterRoutes, clusterQueryRoute, ...clusterAdminRoutes],
];

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
};
const MAX_URL_PARAMETER = 100;
/** For requests that were ended to be answered. */
const LAST_ANSWERS_MS = 1000;

/**
 * Serves a replica over HTTP: reads, writes, changes, probes and metrics, as docs/http.md describes
 * them, and the console at `/`, as docs/console.md does. Resolves once it listens.
 *
 * @throws AntiphonError BAD_OPTION, also when it cannot listen there
 *
 * @example
 * await using server = await createServer(replica, { listen: '127.0.0.1:7070' });
 * console.log(server.url);
 */
export async function createServer(
  replica: Replica<unknown>,
  options: ServerOptions = {},
): Promise<HttpServer> {
  const settings = resolveServerOptions(options);
  const server = new ReplicaServer(replica, settings, await readConsole());
  await server.listen();
  return server;
}

class ReplicaServer implements HttpServer {
  readonly #app: FastifyInstance;
  readonly #service: Service;
  readonly #rate: RateLimit;
  readonly #turns = new Turns();
  readonly #draining = new AbortController();
  readonly #ending = new AbortController();
  /** Requests that are being answered. */
  readonly #underWay = new Set<AbortController>();
  #closing: Promise<void> | undefined;
  #address: Endpoint;

  constructor(
    replica: Replica<unknown>,
    private readonly settings: ServerSettings,
    private readonly page: readonly ConsoleFile[],
  ) {
    const { limits, logger } = settings;
    const requests = new Slots(limits.requests, 'requests');
    const streams = new Slots(limits.streams, 'streams');
    const metrics = new ServerMetrics({ requests, streams, subjects: subjectWatchOf(replica) });
    const comparisons = new Slots(1, 'comparison');
    const cluster = new OwnCluster(replica);
    const watch = new ClusterWatch(replica, cluster);
    const [draining, ending] = [this.#draining.signal, this.#ending.signal];
    const slots = { requests, streams, comparisons };
    this.#service = { replica, limits, logger, metrics, ...slots, cluster, watch, draining, ending };
    this.#rate = new RateLimit(limits.requestsPerSecond);
    this.#address = settings.address;
    this.#app = this.#build();
  }

  get address(): Endpoint {
    return this.#address;
  }

  get url(): string {
    const { host, port } = this.#address;
    const scheme = this.settings.certificate === undefined ? 'http' : 'https';
    return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  /** Throws BAD_OPTION. */
  async listen(): Promise<void> {
    const { host, port } = this.settings.address;
    try {
      await this.#app.listen({ host, port });
    } catch (error) {
      this.settings.certificate?.close();
      await this.#app.close();
      const why = (error as NodeJS.ErrnoException).code ?? String(error);
      const message = `The server cannot listen on ${host}:${port} (${why}). Give another \`listen\`, or end what listens there.`;
      throw new AntiphonError('BAD_OPTION', message, { cause: error });
    }
    const bound = this.#app.server.address();
    if (typeof bound === 'object' && bound !== null) this.#address = { host, port: bound.port };
    if (this.settings.certificate === undefined && !isLoopback(host)) this.#warnOfPlainText();
  }

  #warnOfPlainText(): void {
    const message =
      `The server listens at ${this.url} without TLS: others on the network can read tokens and data. ` +
      'Give it a certificate with `http.tls`, or listen on 127.0.0.1 behind a proxy that has one.';
    this.settings.logger.warn({ url: this.url }, message);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { drainMs, graceMs } = this.settings.limits;
    this.#draining.abort();
    if (drainMs > 0) await new Promise((resolve) => setTimeout(resolve, drainMs));
    this.#ending.abort();
    const timers = [
      setTimeout(() => this.#endRequests(), graceMs),
      setTimeout(() => this.#app.server.closeAllConnections(), graceMs + LAST_ANSWERS_MS),
    ];
    try {
      await this.#app.close();
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.#service.metrics.close();
      this.settings.certificate?.close();
    }
  }

  #endRequests(): void {
    const message = 'This server is shutting down, and has ended what was under way. Ask another replica.';
    for (const request of this.#underWay) request.abort(new AntiphonError('ABORTED', message));
  }

  #build(): FastifyInstance {
    const app = fastify({
      logger: false,
      bodyLimit: this.settings.limits.bodyBytes,
      ...nodeServerOptions(this.settings),
      forceCloseConnections: 'idle',
      // It would answer in a form of its own: see `#assertOpen`.
      return503OnClosing: false,
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: MAX_URL_PARAMETER },
      clientErrorHandler: refuseConnection,
      frameworkErrors: (_, request, reply) => {
        // No hook is called for it.
        this.#begin(request.raw.socket, () => {
          whenOver(reply.raw, () => this.#turns.ended(request.raw.socket));
          const message = 'The address is not valid: a "%" in it begins no code of UTF-8. Encode it.';
          void this.#refuse(request, reply.headers(HEADERS), new HttpError('BAD_REQUEST', message));
        });
      },
    });
    app.server.maxConnections = this.settings.limits.connections;
    app.server.on('drop', () => this.#service.metrics.dropped());
    refuseInOneForm(app.server, HEADERS);
    // A page in a browser can send text to any address without asking first; JSON it cannot.
    app.removeContentTypeParser('text/plain');
    parseExactJson(app);
    this.#addHooks(app);
    const routes = [...ROUTES, this.#openApi()];
    for (const one of routes) this.#addRoute(app, one);
    addConsole(app, this.page);
    app.setErrorHandler((error, request, reply) => this.#refuse(request, reply, error));
    const found = [...routes, ...this.page.map(({ path }) => ({ path, method: 'GET' as const }))];
    app.setNotFoundHandler((request, reply) => this.#refuse(request, reply, notFound(request, found)));
    return app;
  }

  #addHooks(app: FastifyInstance): void {
    app.addHook('onRequest', ({ raw: { socket } }, _, done) => this.#begin(socket, done));
    app.addHook('onRequest', async (request, reply) => {
      void reply.headers(HEADERS);
      this.#assertOpen(request);
      assertPlain(request);
      this.#assertHost(request);
      this.#assertRate(request);
      assertSameOrigin(request);
    });
    app.addHook('onSend', async (_, reply) => {
      if (this.#draining.signal.aborted) void reply.header('connection', 'close');
      // Of no bytes in either direction.
      reply.raw.setTimeout(this.settings.limits.slowReaderMs, () => reply.raw.destroy());
    });
    app.addHook('onResponse', async (request, reply) => {
      this.#turns.ended(request.raw.socket);
      const { metrics, logger } = this.#service;
      const { method } = request;
      const path = request.routeOptions.url ?? 'unknown';
      metrics.observe(method, path, reply.statusCode, reply.elapsedTime / 1000);
      const ms = Math.round(reply.elapsedTime);
      logger.debug({ method, path, status: reply.statusCode, ms }, 'A request was answered.');
    });
  }

  /** Connections that are kept alive bring new requests until they end. */
  #assertOpen(request: FastifyRequest): void {
    if (this.#ending.signal.aborted && !isProbe(request)) throw shuttingDown();
  }

  /** In this turn of the event loop or a later one; not where the connection has too many. */
  #begin(socket: Socket, begin: () => void): void {
    if (socket.destroyed || this.#turns.take(socket, begin)) return;
    this.#service.metrics.dropped();
    socket.destroy();
  }

  /**
   * Without tokens, what protects a replica is that only this machine reaches it: a page whose name
   * resolves to 127.0.0.1 must not (DNS rebinding).
   */
  #assertHost({ headers: { host }, raw }: FastifyRequest): void {
    if (host === undefined && raw.httpVersion === '1.1')
      throw new HttpError('BAD_REQUEST', 'The request has no `Host`, which HTTP/1.1 asks for. Send one.');
    // Browsers always name one.
    if (this.settings.tokens.areNeeded || host === undefined || isLoopback(hostOf(host))) return;
    const message =
      'Without tokens this server answers only to 127.0.0.1, [::1] and localhost. ' +
      'Give it `http.tokens` to reach it under another name.';
    throw new HttpError('FORBIDDEN', message);
  }

  /** Load balancers ask as often as they like. */
  #assertRate(request: FastifyRequest): void {
    const { headers, ip } = request;
    if (isProbe(request)) return;
    this.#rate.take(clientOf(this.settings.tokens.nameOf(headers.authorization), ip));
  }

  #addRoute(app: FastifyInstance, one: Route): void {
    const { tokens } = this.settings;
    const { method, path: url, role } = one;
    // Probes and pages that ask every second would fill what keeps the spans.
    const isTraced = role === 'read' || role === 'write' ? one.body !== undefined : false;
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      const gone = new AbortController();
      this.#underWay.add(gone);
      whenOver(reply.raw, () => {
        this.#underWay.delete(gone);
        if (!reply.raw.writableFinished) gone.abort();
      });
      const { body, query, headers } = request;
      const asker = tokens.roleOf(headers.authorization);
      const input = { body, query, headers, signal: gone.signal, role: asker, reply };
      const run = (): Promise<Answer | undefined> => one.run(this.#service, input);
      const { replica } = this.#service;
      const answer = await (isTraced ? tracedRequest(replica, { method, path: url, headers }, run) : run());
      if (answer === undefined) return reply;
      const { status = 200, type = 'application/json; charset=utf-8' } = answer;
      const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
      return reply.code(status).type(type).send(text);
    };
    // Before the body is read: whoever may not ask sends nothing.
    const onRequest = async ({ headers }: FastifyRequest): Promise<void> => {
      if (role !== undefined) tokens.assert(role, headers.authorization);
    };
    // Load balancers ask for the status only.
    const exposeHeadRoute = PROBES.some(({ path }) => path === url);
    app.route({ method, url, handler, onRequest, exposeHeadRoute });
  }

  #openApi(): Route {
    const { tokens } = this.settings;
    const { version } = this.#service.replica.status();
    const path = '/openapi.json';
    const own = { method: 'GET', path, summary: 'This description.', query: nothing } as const;
    const answers = { 200: { what: 'OpenAPI 3.1.' } };
    const all = [...ROUTES, route({ ...own, answers, run: () => Promise.resolve(undefined) })];
    const body = JSON.stringify(openApiOf(all, { version, needsToken: tokens.areNeeded }));
    return route({ ...own, answers, run: () => Promise.resolve({ body }) });
  }

  #refuse(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
    const { status, headers, body, isDefect } = errorAnswer(thrown);
    if (isDefect)
      this.#service.logger.error({ err: thrown, path: request.routeOptions.url }, 'A request failed.');
    return reply
      .code(status)
      .headers(headers)
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(body));
  }
}

function isProbe({ routeOptions: { url } }: FastifyRequest): boolean {
  return PROBES.some(({ path }) => path === url);
}

/** A body that is compressed would be no JSON. */
function assertPlain({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return;
  throw new HttpError(
    'UNSUPPORTED_MEDIA_TYPE',
    'The body is compressed. Send it without `Content-Encoding`.',
  );
}

function notFound(
  { method, url }: FastifyRequest,
  found: readonly Pick<Route, 'path' | 'method'>[],
): HttpError {
  const [path] = url.split('?', 1);
  const known = found.filter((one) => one.path === path).map((one) => one.method);
  if (known.length === 0)
    return new HttpError(
      'NOT_FOUND',
      'There is nothing at this address. See /openapi.json for what there is.',
    );
  const methods: string[] = PROBES.some((one) => one.path === path) ? [...known, 'HEAD'] : known;
  const allow = methods.join(', ');
  return new HttpError('METHOD_NOT_ALLOWED', `${path} takes ${allow}, not ${method}.`, { allow });
}
