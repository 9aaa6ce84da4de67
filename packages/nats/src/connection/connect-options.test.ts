import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { settleConnectOptions, type ConnectSettings } from './connect-options.js';
import { showServers } from './server-address.js';

function loginOf({ client }: ConnectSettings): unknown {
  const { authenticator } = client;
  if (typeof authenticator !== 'function') throw new Error('no login');
  return authenticator('nonce');
}

describe('settleConnectOptions', () => {
  it('takes one address, several, and addresses without scheme or port', () => {
    expect(settleConnectOptions({ servers: 'localhost' }).client.servers).toEqual(['localhost']);
    const { client, shownServers } = settleConnectOptions({ servers: 'nats://a:1, tls://b:2' });
    expect(client.servers).toEqual(['a:1', 'b:2']);
    expect(shownServers).toBe('nats://a:1, tls://b:2');
    expect(settleConnectOptions({ servers: ['a:1', 'nats://[::1]:4222'] }).client.servers).toEqual([
      'a:1',
      '[::1]:4222',
    ]);
  });

  it('honours user and password, or a token, in the address and never shows them', () => {
    const named = settleConnectOptions({ servers: 'nats://me:p%40ss@host:4222' });
    expect(loginOf(named)).toEqual({ user: 'me', pass: 'p@ss' });
    expect(inspect(named, { depth: null })).not.toMatch(/p@ss|p%40ss/);
    expect(JSON.stringify([named.shownServers, named.client.servers])).not.toMatch(/me/);
    expect(loginOf(settleConnectOptions({ servers: 'nats://s3cret@host' }))).toEqual({
      auth_token: 's3cret',
    });
    const given = { servers: 'host', user: 'u', password: 'p' };
    expect(loginOf(settleConnectOptions(given))).toEqual({ user: 'u', pass: 'p' });
    expect(inspect(settleConnectOptions({ ...given, password: 'hunter2' }), { depth: null })).not.toMatch(
      /hunter2/,
    );
    expect(loginOf(settleConnectOptions({ servers: 'host', token: 't' }))).toEqual({ auth_token: 't' });
  });

  it.each([
    'nats://me:hun#ter2@host',
    'nats://me:12#hunter2@host',
    'nats://me:12/hunter2@host',
    'nats://host?token=hunter2',
    'nats://me:hunter%2@host',
    'nats://me:hun,ter2@host',
    'nats://me:hunter2@a, nats://you:hunter2@b',
    'http://me:hunter2@host',
    'nats://me:hunter2@',
  ])('refuses %j without repeating any of it', (servers) => {
    const settle = (): unknown => settleConnectOptions({ servers });
    expect(settle).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(settle).not.toThrow(/hun|ter2|you|:12/);
    expect(showServers(servers)).not.toMatch(/hun|ter2|:12/);
  });

  it('never gives up a connection that it once had', () => {
    const { client } = settleConnectOptions({ servers: 'host' });
    expect(client).toMatchObject({
      maxReconnectAttempts: -1,
      pingInterval: 1000,
      maxPingOut: 2,
      noAsyncTraces: true,
    });
  });
});
