import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from '../connection/nats-handle.js';
import { append } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import { RawServer } from '../testing/raw-server.js';

const KIB = 1024;
const HEADERS = 1024;
const configuration = (maxPayload: number): string =>
  `jetstream { store_dir: "@DIR@/js" }\nmax_payload: ${maxPayload}`;

let server: RawServer;
beforeAll(async () => {
  server = await RawServer.start(configuration(64 * KIB));
});
afterAll(() => server.stop());

describe('the largest entry', () => {
  it('is what the server takes now, also after it came back with another limit', async () => {
    await using nats = await connectNats({ servers: server.url });
    const log = nats.log('shop');
    await log.open({ create: true });
    expect(log.maxMessageBytes).toBe(64 * KIB - HEADERS);
    for (const maxPayload of [16 * KIB, 128 * KIB]) {
      await server.run(configuration(maxPayload));
      await eventually('the new limit', () => log.maxMessageBytes === maxPayload - HEADERS);
      await eventually('the connection', () => nats.status === 'connected');
      const largest = new Uint8Array(log.maxMessageBytes);
      await eventually(
        'the largest entry to be stored',
        async () => (await append(log, { id: `a:${maxPayload}`, data: largest })).type === 'stored',
      );
      const over = await append(log, { id: `b:${maxPayload}`, data: new Uint8Array(largest.length + 1) });
      expect(over).toMatchObject({ type: 'refused', error: { code: 'MESSAGE_TOO_LARGE' } });
    }
  });

  it('is what the stream takes, once somebody has changed that', async () => {
    await using nats = await connectNats({ servers: server.url });
    const log = nats.log('edited');
    await log.open({ create: true });
    const { config } = await nats.api.streamInfo('ANTIPHON_edited');
    const changed = new TextEncoder().encode(JSON.stringify({ ...config, max_msg_size: 8 * KIB }));
    await nats.requester.request('$JS.API.STREAM.UPDATE.ANTIPHON_edited', changed, { timeoutMs: 2000 });
    await eventually('the new limit', () => log.maxMessageBytes === 8 * KIB - HEADERS);
  });
});
