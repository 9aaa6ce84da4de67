import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorAnswer, type HttpCode, HttpError } from './http-error.js';

const REFUSALS: Readonly<Record<string, readonly [HttpCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'The request did not come in time. Send it again.'],
  HPE_HEADER_OVERFLOW: ['HEADERS_TOO_LARGE', 'The headers are too large. Send fewer.'],
};

/** Errors of the parser, and of the limits of time. */
const OF_HTTP = /^(HPE|ERR_HTTP)_/;

/** What is no HTTP, or comes too slowly: one answer, and the connection ends. */
export function refuseConnection(error: Error & { readonly code?: string }, socket: Socket): void {
  // After a reset, or before TLS is agreed on, nobody reads an answer; waiting for that has no end.
  if (!OF_HTTP.test(error.code ?? '') || !socket.writable) return void socket.destroy();
  const [code, message] = REFUSALS[error.code ?? ''] ?? ['BAD_REQUEST', 'This is no valid HTTP request.'];
  refuseOn(socket, new HttpError(code, message));
}

/**
 * What Node.js answers by itself, without a body, or by closing the connection: the same form of
 * error for these.
 */
export function refuseInOneForm(server: Server, headers: Readonly<Record<string, string>>): void {
  server.on('checkExpectation', (_: IncomingMessage, response: ServerResponse) => {
    const message = 'Only `Expect: 100-continue` is understood. Send the request without `Expect`.';
    const answer = errorAnswer(new HttpError('EXPECTATION_FAILED', message));
    const text = JSON.stringify(answer.body);
    response.writeHead(answer.status, {
      ...{ ...headers, 'content-type': 'application/json; charset=utf-8', connection: 'close' },
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  });
  server.on('connect', (_: IncomingMessage, socket: Duplex) => {
    const message = 'This server is no proxy. Send a request of its own.';
    refuseOn(socket as Socket, new HttpError('METHOD_NOT_ALLOWED', message, { allow: 'GET, POST' }));
  });
}

function refuseOn(socket: Socket, error: HttpError): void {
  const { status, headers, body } = errorAnswer(error);
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? error.code}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
  ];
  socket.on('error', () => undefined);
  socket.write(`${head.join('\r\n')}\r\n\r\n${text}`);
  // Not `end`: whoever does not go would keep the connection.
  socket.destroySoon();
}
