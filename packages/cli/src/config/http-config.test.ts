import { resolve } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { expect, it } from 'vitest';
import { parseConfig } from './load-config.js';

const SHA256 = 'ab'.repeat(32);

function parse(http: string, env: NodeJS.ProcessEnv = {}) {
  const text = `cluster: shop\nid: eu-1\nnats: { servers: h }\nstore: { sqlite: { file: ./shop.db } }\nhttp: ${http}\n`;
  return parseConfig(text, 'antiphon.yaml', env).http;
}

function problem(http: string): string {
  try {
    parse(http);
  } catch (error) {
    if (error instanceof AntiphonError) return error.message;
    throw error;
  }
  throw new Error('expected it to be refused');
}

it('takes an address, tokens and limits, with what the environment has', () => {
  expect(parse('{ listen: 127.0.0.1:7070 }')).toEqual({ listen: '127.0.0.1:7070' });
  const tokens = `[{ name: shop, role: write, sha256: '\${TOKEN}' }]`;
  const http = `{ listen: '0.0.0.0:\${PORT:-80}', tokens: ${tokens}, limits: { requests: '\${N}', drainMs: 0 } }`;
  expect(parse(http, { TOKEN: SHA256, N: '7' })).toEqual({
    listen: '0.0.0.0:80',
    tokens: [{ name: 'shop', role: 'write', sha256: SHA256 }],
    limits: { requests: 7, drainMs: 0 },
  });
});

it('takes files from the folder of the configuration', () => {
  const http = '{ listen: 127.0.0.1:1, tls: { cert: ./a.pem, key: /run/a.key } }';
  expect(parse(http)?.tls).toEqual({ cert: resolve('a.pem'), key: '/run/a.key' });
});

it.each([
  ['{}', 'http.listen is missing'],
  ['{ listen: 7070 }', 'http.listen must be text'],
  ["{ listen: ':7070' }", 'http.listen: must be an address and a port'],
  ['{ listen: 0.0.0.0:7070 }', 'antiphon.yaml:5: http.listen: others than this machine reach this address'],
  ['{ listen: 0.0.0.0:7070, tokens: [] }', 'http.tokens must be a list of at least 1 entry'],
  ['{ listn: 127.0.0.1:1 }', 'Did you mean "listen"?'],
  ['{ listen: 127.0.0.1:1, limits: { request: 1 } }', 'Did you mean "requests"?'],
  ['{ listen: 127.0.0.1:1, tls: { cert: a.pem } }', 'http.tls.key is missing'],
  ['{ listen: 127.0.0.1:1, tls: { cert: a.pem, kye: b } }', 'Did you mean "key"?'],
  ['{ listen: 127.0.0.1:1, limits: { requests: 0 } }', 'http.limits.requests must be at least 1'],
  [
    '{ listen: 127.0.0.1:1, tokens: [{ name: a, role: root, sha256: x }] }',
    'http.tokens.0.role must be "read"',
  ],
  ['{ listen: 127.0.0.1:1, tokens: [{ name: a, role: read, sha256: hunter2 }] }', 'SHA-256 of the token'],
])('%s: %s', (http, message) => {
  expect(problem(http)).toContain(message);
  expect(problem(http)).not.toContain('hunter2');
});
