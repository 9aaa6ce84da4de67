import { decodeBatches, systemClock } from '@antiphon/core';
import { connectNats, NatsServer } from '@antiphon/nats';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startReplica, type Replica, type ReplicaOptions } from './index.js';
import { eventually } from './testing/eventually.js';
import { MapStore, type MapTransaction } from './testing/map-store.js';

let server: NatsServer;
let dir: string;
let cluster = '';
let clusters = 0;
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-start-'));
  server = await NatsServer.start({ storeDir: dir });
});
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function ports() {
  const nats = await connectNats({ servers: server.url });
  ends.push(() => nats.close());
  return { log: nats.log(cluster), bus: nats.bus(), registry: nats.registry(cluster), clock: systemClock() };
}

async function start(id: string, store: MapStore, over: Partial<ReplicaOptions<MapTransaction>> = {}): Promise<Replica<MapTransaction>> {
  const replica = await startReplica({ cluster, id, store, ...(await ports()), ...over });
  ends.unshift(() => replica.close());
  return replica;
}

function founder(): MapStore {
  const store = new MapStore();
  store.founded = true;
  return store;
}

describe('startReplica', () => {
  it('I4: two replicas in step', async () => {
    cluster = `c${++clusters}`;
    const [left, right] = [founder(), new MapStore()];
    left.rows.set('before', '1');
    const a = await start('a', left);
    const b = await start('b', right);
    await b.caughtUp();
    expect([...right.rows]).toEqual([['before', '1']]);
    await a.transaction((tx) => tx.put('x', 'from a'));
    await b.transaction((tx) => tx.put('y', 'from b'));
    await eventually('both have both', () => left.rows.size === 3 && right.rows.size === 3);
    expect(a.status()).toMatchObject({ role: 'peer', vector: { a: 2, b: 1 }, outbox: { unpublished: 0 } });
    await eventually('following', () => a.status().lifecycle === 'following' && b.status().lifecycle === 'following');
    await eventually('pruned', () => left.state().outboxMessages === 0 && right.state().outboxMessages === 0);
  });

  it('propagates one write within milliseconds, and many of them fast', async () => {
    cluster = `c${++clusters}`;
    const [left, right] = [founder(), new MapStore()];
    const a = await start('a', left);
    await start('b', right);
    const times: number[] = [];
    for (let n = 0; n < 200; n++) {
      await a.transaction((tx) => tx.put(`k${n}`, 'v'));
      const startMs = performance.now();
      while (!right.rows.has(`k${n}`)) await new Promise((resolve) => setImmediate(resolve));
      times.push(performance.now() - startMs);
    }
    times.sort((x, y) => x - y);
    const startMs = performance.now();
    const writes = 20_000;
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < writes) {
        const n = next++;
        await a.transaction((tx) => tx.put(`w${n % 1000}`, String(n)));
      }
    };
    await Promise.all(Array.from({ length: 64 }, worker));
    const committedMs = performance.now() - startMs;
    await eventually('all arrived', () => (right.state().vector['a'] ?? 0) === writes + 200);
    const arrivedMs = performance.now() - startMs;
    console.log({ p50: times[100], p99: times[198], committed: writes / committedMs * 1000, arrived: writes / arrivedMs * 1000 });
    expect(times[100]).toBeLessThan(5);
    expect(decodeBatches.name).toBe('decodeBatches');
  });
});
