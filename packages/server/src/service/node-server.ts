import type { RequestListener, Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { FastifyHttpOptions } from 'fastify';
import type { ServerSettings } from './options.js';

const MAX_HEADER_BYTES = 16 * 1024;
/** How exactly the time limits of requests are kept, at most. */
const CHECK_MS = 1000;

type NodeOptions = Pick<
  FastifyHttpOptions<Server>,
  'http' | 'keepAliveTimeout' | 'requestTimeout' | 'serverFactory'
>;

/** The server of Node.js, with its bounds; with a certificate, it speaks TLS only. */
export function nodeServerOptions({ limits, certificate, logger }: ServerSettings): NodeOptions {
  const { headersTimeoutMs, requestTimeoutMs, keepAliveMs } = limits;
  const http = {
    headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
    maxHeaderSize: MAX_HEADER_BYTES,
    // It would answer without a body.
    requireHostHeader: false,
    connectionsCheckingInterval: Math.min(CHECK_MS, headersTimeoutMs, requestTimeoutMs),
  };
  const times = { keepAliveTimeout: keepAliveMs, requestTimeout: requestTimeoutMs };
  if (certificate === undefined) return { ...times, http };
  const serverFactory = (handler: RequestListener): Server => {
    // Node.js gives a handshake two minutes.
    const tls = {
      ...certificate.options,
      handshakeTimeout: headersTimeoutMs,
      minVersion: 'TLSv1.2',
    } as const;
    const server = createTlsServer({ ...http, ...times, ...tls }, handler);
    certificate.watch(server, logger);
    return server;
  };
  return { serverFactory };
}
