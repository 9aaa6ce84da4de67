import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './load-config.js';

const SEED = `SU${'A'.repeat(56)}`;

function config(nats: string): string {
  return `
cluster: shop
id: eu-1
nats: ${nats}
store: { sqlite: { file: ./shop.db } }
topology: { mode: multi-primary }
`;
}

function access(nats: string, env: NodeJS.ProcessEnv = {}): unknown {
  const { servers: _, ...rest } = parseConfig(config(nats), '/etc/shop/antiphon.yaml', env).nats;
  return rest;
}

function problem(nats: string, env: NodeJS.ProcessEnv = {}): string {
  try {
    parseConfig(config(nats), '/etc/shop/antiphon.yaml', env);
  } catch (error) {
    if (error instanceof AntiphonError) return error.message + JSON.stringify(error.context);
    throw error;
  }
  throw new Error('expected it to be refused');
}

describe('how to log in', () => {
  it('is taken as it stands, with secrets from the environment and paths from the folder of the file', () => {
    const password = `{ servers: h, user: eu-1, password: '\${PW}' }`;
    expect(access(password, { PW: 'hunter2' })).toEqual({ user: 'eu-1', password: 'hunter2' });
    expect(access(`{ servers: h, token: '\${T}' }`, { T: 't' })).toEqual({ token: 't' });
    expect(access('{ servers: h, nkey: eu-1.nk }')).toEqual({ nkey: '/etc/shop/eu-1.nk' });
    expect(access(`{ servers: h, nkey: ${SEED} }`)).toEqual({ nkey: SEED });
    expect(access('{ servers: h, creds: /run/eu-1.creds }')).toEqual({ creds: '/run/eu-1.creds' });
    const tls = '{ ca: ca.pem, cert: ../eu-1.pem, key: /run/eu-1.key, handshakeFirst: true }';
    expect(access(`{ servers: h, inboxPrefix: _INBOX_a, tls: ${tls} }`)).toEqual({
      inboxPrefix: '_INBOX_a',
      tls: { ca: '/etc/shop/ca.pem', cert: '/etc/eu-1.pem', key: '/run/eu-1.key', handshakeFirst: true },
    });
  });

  it('says what is wrong with it', () => {
    expect(problem('{ servers: h, pasword: x }')).toMatch(
      /Unknown key "pasword" in nats\. Did you mean "password"/,
    );
    expect(problem('{ servers: h, tls: { cat: x } }')).toMatch(/Unknown key "cat" in nats\.tls/);
    expect(problem('{ servers: h, password: 12345 }')).toMatch(
      /nats\.password must be text\. Put it between quotes/,
    );
    expect(problem(`{ servers: h, password: '\${PW}' }`)).toMatch(/environment variable PW is not set/);
    expect(problem(`{ servers: h, user: u, password: '\${PW}' }`, { PW: '' })).toMatch(
      /nats\.password must not be empty\./,
    );
  });
});

describe('on how many servers the streams are', () => {
  it('is 1, 3 or 5, and no part of the login', () => {
    const parsed = parseConfig(
      config('{ servers: [a, b, c], streamReplicas: 3 }'),
      '/etc/shop/antiphon.yaml',
      {},
    );
    expect(parsed).toMatchObject({ streamReplicas: 3, nats: { servers: ['a', 'b', 'c'] } });
    expect(parsed.nats).not.toHaveProperty('streamReplicas');
    expect(problem('{ servers: h, streamReplicas: 2 }')).toMatch(
      /nats\.streamReplicas must be 1 or 3 or 5\./,
    );
  });
});

describe('a secret', () => {
  it.each([
    '{ servers: nats://me:hunter2@h ]',
    '{ servers: h, password: hunter2',
    '{ servers: h, password: "hunter2 }',
    '{ servers: h, password: *hunter2 }',
    '{ servers: h, password: !hunter2 x, token: [ }',
    '{ servers: h, password: @hunter2 }',
    "{ servers: h, password: '${hunter2' }",
    "{ servers: h, password: '${PW:-hunter2' }",
    '{ servers: h, password: ${PW:-hunter2} }',
    '{ servers: { url: nats://me:hunter2@h } }',
    '{ servers: [nats://me:hunter2@h, 5] }',
    '{ servers: h, password: [hunter2] }',
    '{ servers: h, tls: hunter2 }',
    '{ servers: h, password: a: hunter2 }',
  ])('is not repeated when the file is wrong: %s', (nats) => {
    expect(problem(nats)).not.toContain('hunter2');
  });
});
