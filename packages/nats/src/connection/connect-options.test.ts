import { describe, expect, it } from 'vitest';
import { settleConnectOptions } from './connect-options.js';

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
    expect(named.client).toMatchObject({ user: 'me', pass: 'p@ss' });
    expect(JSON.stringify([named.shownServers, named.client.servers])).not.toMatch(/me|p@ss|p%40ss/);
    expect(settleConnectOptions({ servers: 'nats://s3cret@host' }).client).toMatchObject({ token: 's3cret' });
    expect(settleConnectOptions({ servers: 'host', user: 'u', password: 'p' }).client).toMatchObject({
      user: 'u',
      pass: 'p',
    });
    expect(settleConnectOptions({ servers: 'host', token: 't' }).client).toMatchObject({ token: 't' });
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
