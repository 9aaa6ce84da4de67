import { type Client, connect, type ConnectOptions, type Session } from '@antiphon/client';
import { CONNECT_OPTIONS } from '@antiphon/client/internal';
import { inContext, isUnderTrace } from '@antiphon/replica/internal';
import { AntiphonError, checkOptions, type OptionNames } from '@antiphon/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { errorAnswer } from '../http/http-error.js';
import { traceOf } from '../http/traced-request.js';
import { SessionHeader } from './session-header.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** The connection to the cluster. Of `antiphonPlugin`. */
    readonly antiphon: Client;
  }
  interface FastifyRequest {
    /**
     * Reads and writes of this request, after everything that its sender has seen, as far as the
     * header says. Of `antiphonPlugin`. Throws BAD_OPTION (400) when the header cannot be read.
     */
    readonly antiphon: Session;
  }
}

/** What `connect()` takes, or a client; and how the plugin works. */
export interface AntiphonPluginOptions extends Partial<ConnectOptions> {
  /**
   * In place of what `connect()` takes. It is yours: you close it.
   * @defaultValue the plugin connects, and hangs up when the service closes
   */
  readonly client?: Client;
  /**
   * The header of requests and answers that says what a session has seen.
   * @defaultValue `'antiphon-session'`
   */
  readonly sessionHeader?: string;
  /**
   * Answers an error of Antiphon with its status and as JSON, as docs/http.md lists them. `false`:
   * the service's own error handler does.
   * @defaultValue true
   */
  readonly answerErrors?: boolean;
}

const WITH_CLIENT: OptionNames<Pick<AntiphonPluginOptions, 'client' | 'sessionHeader' | 'answerErrors'>> = {
  ...{ client: true, sessionHeader: true, answerErrors: true },
};
const OPTIONS: OptionNames<AntiphonPluginOptions> = { ...CONNECT_OPTIONS, ...WITH_CLIENT };
/** Errors of a session that has seen what counts for nobody any more. */
const LOST = new Set(['SESSION_LOST', 'LOG_REPLACED']);
const HEADER_NAME = /^[a-z0-9-]{1,60}$/;

async function plugin(app: FastifyInstance, options: AntiphonPluginOptions): Promise<void> {
  checkOptions(options, options.client === undefined ? OPTIONS : WITH_CLIENT, 'antiphonPlugin');
  const { sessionHeader = 'antiphon-session', answerErrors = true } = options;
  if (!HEADER_NAME.test(sessionHeader)) {
    const message = `\`sessionHeader\` is "${sessionHeader}". Give the name of a header, in small letters.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const client = await clientOf(app, options);
  const sessions = new SessionHeader(client, sessionHeader);
  app.decorate('antiphon', client);
  app.decorateRequest('antiphon', {
    getter(this: FastifyRequest) {
      return sessions.of(this);
    },
  });
  // Where an instrumentation of Node.js goes on with the trace, it is under way already.
  app.addHook('onRequest', ({ headers }, _, done) => {
    if (isUnderTrace()) done();
    else inContext(traceOf(headers), done);
  });
  app.addHook('onError', async (_, reply, error) => {
    if (LOST.has(error.code)) sessions.end(reply);
  });
  app.addHook('onSend', async (request, reply) => sessions.answer(request, reply));
  if (answerErrors) setHandler(app);
}

/** One that replaces it would take its answers away without a word. */
function setHandler(app: FastifyInstance): void {
  app.setErrorHandler(answerError);
  const ours = app.errorHandler;
  app.addHook('onReady', async () => {
    if (app.errorHandler === ours) return;
    const message =
      'The error handler of this service has replaced that of antiphonPlugin. ' +
      'Register the plugin with `answerErrors: false`, and call `answerError` in yours for each AntiphonError.';
    throw new AntiphonError('BAD_OPTION', message);
  });
}

async function clientOf(
  app: FastifyInstance,
  { client, sessionHeader: _, answerErrors: __, ...others }: AntiphonPluginOptions,
): Promise<Client> {
  if (client !== undefined) return client;
  // It says what is missing.
  const connected = await connect(others as ConnectOptions);
  app.addHook('onClose', () => connected.close());
  return connected;
}

/**
 * Answers an AntiphonError as docs/http.md lists them: for a service with an error handler of its
 * own. Throws every other error again: it is for the handler above this one.
 */
export function answerError(error: Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!(error instanceof AntiphonError)) throw error;
  const { status, headers, body, isDefect } = errorAnswer(error);
  request.log[isDefect ? 'error' : 'info']({ err: error, code: error.code }, 'The cluster did not do it.');
  return reply.code(status).headers(headers).send(body);
}

/**
 * A Fastify plugin: `app.antiphon` is the connection to a cluster, `request.antiphon` the session
 * of a request.
 *
 * @throws AntiphonError (from `app.ready()`) what `connect()` throws
 * @example
 * await app.register(antiphonPlugin, { cluster: 'shop', servers: 'nats://127.0.0.1:4222' });
 * app.get('/orders', (request) => request.antiphon.query('SELECT * FROM orders'));
 */
export const antiphonPlugin = fastifyPlugin(plugin, { name: 'antiphon', fastify: '5.x' });
