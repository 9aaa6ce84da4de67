import { connect } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { readFileSync } from 'node:fs';
import type { TlsOptions } from 'nats';
import { endpointOf } from './greeting.js';

/**
 * With TLS 1.3 a server judges the client's certificate when the handshake is over for the client.
 */
const VERDICT_MS = 1000;

/**
 * What a server has against this client's certificate; undefined when it says nothing. The client
 * itself stops listening for a moment right after its handshake, misses the server's words, and
 * then waits in vain.
 */
export function handshakeProblem(server: URL, options: TlsOptions): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const socket = connect(endpointOf(server));
    const end = (problem?: Error): void => {
      clearTimeout(limit);
      socket.destroy();
      resolve(problem);
    };
    const limit = setTimeout(end, VERDICT_MS);
    socket.once('error', () => end());
    // The greeting comes first, and is not needed.
    socket.once('data', () => {
      const secured = connectTls({ ...settingsOf(options), socket });
      secured.once('error', end);
      secured.once('close', () => end());
    });
  });
}

function settingsOf(options: TlsOptions): ConnectionOptions {
  const content = (text: string | undefined, file: string | undefined): string | undefined =>
    file === undefined ? text : readFileSync(file, 'utf8');
  const { ca, caFile, cert, certFile, key, keyFile } = options;
  return {
    ca: content(ca, caFile),
    cert: content(cert, certFile),
    key: content(key, keyFile),
    // Whether the server is the right one has been looked at before.
    rejectUnauthorized: false,
  };
}
