import type { ServerLimits } from '@antiphon/server';
import { isLoopback, parseListen } from '@antiphon/server/internal';
import { z } from 'zod';
import { fromText } from './from-text.js';

const MAX = 2_147_483_647;
const MAX_TOKENS = 100;
const SHA256 = /^[0-9a-f]{64}$/i;

/** Each as in the library; a missing one does not compile. */
const LIMITS: Readonly<Record<keyof ServerLimits, string>> = {
  bodyBytes: "Bytes of a request's body. Default 1048576.",
  resultBytes: 'Bytes of the result of a query, about. Default 8388608.',
  connections: 'Connections at once. Default 1000.',
  requests: 'Reads and writes at once. Default 256.',
  requestsPerSecond: 'Requests of one token, or of one address without a token, in a second. Default 10000.',
  streams: 'Streams of changes at once. Default 100.',
  headersTimeoutMs: 'For the headers of a request to arrive. Default 10000.',
  requestTimeoutMs: 'For a whole request to arrive. Default 30000.',
  keepAliveMs: 'For which a connection is kept between two requests. Default 60000.',
  slowReaderMs: 'In which a client has to take some of an answer. Default 30000.',
  heartbeatMs: 'Between two signs of life in a stream of changes. Default 15000.',
  drainMs: 'Between `/readyz` answering 503 and the end of the first connection, at the end. Default 0.',
  graceMs: 'For requests under way, at the end. Default 10000.',
};
const MAY_BE_0: readonly (keyof ServerLimits)[] = ['drainMs', 'graceMs'];

function limit(name: string, text: string) {
  const least = MAY_BE_0.some((one) => one === name) ? 0 : 1;
  return z.preprocess(fromText, z.number().int().min(least).max(MAX)).optional().describe(text);
}

const tokenSchema = z.strictObject({
  name: z.string().min(1, 'must not be empty').describe('Who has it.'),
  role: z.enum(['read', 'write', 'admin']).describe('What it permits; each includes those before it.'),
  sha256: z
    .string()
    .regex(SHA256, 'must be the 64 hexadecimal digits of the SHA-256 of the token')
    .describe('`printf %s "$TOKEN" | sha256sum`. The token itself stands nowhere.'),
});

const text = z.string().min(1, 'must not be empty');

const tlsSchema = z.strictObject({
  cert: text.describe('PEM file of the certificate of this server.'),
  key: text.describe('PEM file of the key that belongs to `cert`.'),
  ca: text
    .optional()
    .describe('PEM file of the authority of clients: each has to show a certificate that it signed.'),
});

const limitsSchema = z.strictObject(
  Object.fromEntries(Object.entries(LIMITS).map(([name, text]) => [name, limit(name, text)])) as Record<
    keyof ServerLimits,
    ReturnType<typeof limit>
  >,
);

const fields = z.strictObject({
  listen: z
    .string()
    .refine(isAddress, 'must be an address and a port, like 127.0.0.1:7070 or "[::1]:7070"')
    .describe('Address and port. Beyond this machine, `tokens` are needed.'),
  tokens: z.array(tokenSchema).min(1).max(MAX_TOKENS).optional().describe('Who may ask.'),
  tls: tlsSchema
    .optional()
    .describe('HTTPS. Paths start at the folder of this file; renewed files take effect.'),
  limits: limitsSchema.optional().describe('What one client, or all of them, may take.'),
});

export const httpSchema = fields.refine(
  ({ listen, tokens }) => tokens !== undefined || !isAddress(listen) || isLoopback(parseListen(listen).host),
  {
    path: ['listen'],
    error: 'others than this machine reach this address. Add `tokens`, or listen on 127.0.0.1.',
  },
);

export const HTTP_KEYS = Object.keys(fields.shape);
export const HTTP_TLS_KEYS = Object.keys(tlsSchema.shape);
export const HTTP_LIMIT_KEYS = Object.keys(LIMITS);

function isAddress(text: string): boolean {
  try {
    parseListen(text);
    return true;
  } catch {
    return false;
  }
}
