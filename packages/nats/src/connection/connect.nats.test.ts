import { createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Fixture } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import { connectNats } from './nats-handle.js';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await Fixture.start();
});
afterAll(() => fixture.stop());
afterEach(() => {
  if (fixture.server.state === 'paused') fixture.server.resume();
});

function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as { port: number }).port;
}

describe('connectNats', () => {
  it('connects, measures the round trip and tells which server it is', async () => {
    await using nats = await connectNats({ servers: fixture.server.url, name: 'antiphon test' });
    expect(nats.status).toBe('connected');
    expect(nats.serverInfo?.version).toBe(fixture.server.version);
    expect(await nats.rtt()).toBeLessThan(1000);
  });

  it('says in time which address does not answer and what to do', async () => {
    const silent = createServer(() => undefined);
    const silentPort = await listen(silent);
    const startMs = performance.now();
    const failing = connectNats({
      servers: `nats://me:secret@127.0.0.1:${silentPort}`,
      connectTimeoutMs: 300,
    });
    await expect(failing).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
      retriable: true,
      message: expect.stringMatching(new RegExp(`nats://127.0.0.1:${silentPort} .*Start nats-server`)),
    });
    await expect(failing).rejects.not.toThrow(/secret/);
    expect(performance.now() - startMs).toBeLessThan(1500);
    silent.close();
    await expect(connectNats({ servers: `127.0.0.1:${silentPort}` })).rejects.toThrow(/nothing listens/);
  });

  it.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['Redis', '+PONG\r\n'],
  ])('tells soon that what answers there is %s and not NATS', async (_, answer) => {
    const other = createServer((socket) => socket.on('data', () => socket.end(answer)));
    const port = await listen(other);
    const startMs = performance.now();
    await expect(connectNats({ servers: `127.0.0.1:${port}` })).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
      message: expect.stringMatching(/what answers there is not NATS/),
    });
    expect(performance.now() - startMs).toBeLessThan(2000);
    other.close();
  });

  it('uses any of several servers that answers', async () => {
    await using nats = await connectNats({
      servers: ['nats://127.0.0.1:1', fixture.server.url],
      connectTimeoutMs: 3000,
    });
    expect(await nats.rtt()).toBeLessThan(1000);
  });

  it.each(['', ' , ', 'http://x:1', 'nats://', '::::'])('refuses the address %j', async (servers) => {
    await expect(connectNats({ servers })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('leaves no socket behind when a server is frozen for long', async () => {
    const before = sockets();
    const nats = await connectNats({ servers: fixture.server.url });
    await fixture.server.pause();
    await eventually('the client to notice', () => nats.status === 'disconnected', 5000);
    await expect(nats.rtt()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    // Two dials and more.
    await new Promise((resolve) => setTimeout(resolve, 5000));
    expect(sockets()).toBeLessThanOrEqual(before + 1);
    await nats.close();
    await eventually('the last socket to close', () => sockets() <= before, 3000);
  });

  it('leaves no socket behind that was on its way when it was closed', async () => {
    await eventually('the sockets of others to close', () => sockets() === 0, 3000);
    const nats = await connectNats({ servers: fixture.server.url });
    await fixture.server.pause();
    // It waits for an answer until the third ping, and dials in the turn in which it gives up.
    await new Promise((resolve) => setTimeout(resolve, 2750));
    expect(nats.status).toBe('connected');
    await nats.close();
    await eventually('the last socket to close', () => sockets() === 0, 3000);
  });

  it('comes back when the server does', async () => {
    await using nats = await connectNats({ servers: fixture.server.url });
    const seen: string[] = [];
    nats.onStatus((status) => seen.push(status));
    await fixture.server.kill();
    await eventually('the client to notice', () => nats.status === 'disconnected', 1000);
    await fixture.server.restart();
    await eventually('the reconnect', () => nats.status === 'connected', 3000);
    expect(nats.reconnects).toBe(1);
    expect(seen).toEqual(['disconnected', 'connected']);
  });
});
