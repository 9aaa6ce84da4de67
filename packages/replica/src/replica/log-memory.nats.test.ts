import { AntiphonError, decodeBatches } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import type { ReplicaOptions } from '../config/options.js';
import { eventually } from '../testing/eventually.js';
import { fillTo, OldStore } from '../testing/lossy-log.js';
import { MapCluster, type MapReplica } from '../testing/map-cluster.js';
import { MapStore, type MapTransaction } from '../testing/map-store.js';

type Options = Partial<ReplicaOptions<MapTransaction>>;

const limits = { beatMs: 50, inSyncLagMs: 1000 };
const primary = { 'primary-replica': { primary: 'a' } } as const;
const sync = { mode: 'sync', acks: 'all', minInSync: 1 } as const;
const KINDS: readonly (readonly [name: string, options: Options])[] = [
  ['async, multi-primary', { topology: 'multi-primary', limits }],
  ['async, primary-replica', { topology: primary, limits }],
  ['sync, multi-primary', { topology: 'multi-primary', update: sync, limits }],
  ['sync, primary-replica', { topology: primary, update: sync, limits }],
];

interface Members {
  readonly stores: readonly MapStore[];
  readonly replicas: readonly MapReplica[];
}

async function members(cluster: MapCluster, options: Options): Promise<Members> {
  const stores = [cluster.founder({ founded: 'yes' }), new MapStore()];
  const replicas: MapReplica[] = [];
  for (const [index, store] of stores.entries())
    replicas.push(await cluster.replica('ab'[index] ?? '', store, options));
  await put(replicas[0], 'first');
  await eventually('both have it', () => stores.every(({ rows }) => rows.has('first')));
  return { stores, replicas };
}

async function put(replica: MapReplica | undefined, key: string): Promise<void> {
  await surely(`write ${key}`, async () => void (await replica?.transaction((tx) => tx.put(key, key))));
}

/** The server has just come back, or members are still coming into the in-sync set. */
async function surely(what: string, work: () => Promise<void>): Promise<void> {
  await eventually(what, () =>
    work().then(
      () => true,
      (error: unknown) => {
        if (error instanceof AntiphonError && error.retriable) return false;
        throw error;
      },
    ),
  );
}

async function same({ replicas, stores }: Members): Promise<number> {
  await eventually('all is published and read', async () => {
    for (const replica of replicas) await surely('caught up', () => replica.caughtUp());
    const positions = stores.map((store) => store.state().position);
    return (
      replicas.every((replica) => replica.status().outbox.unpublished === 0) &&
      positions.every(({ seq, entry }) => seq === positions[0]?.seq && entry?.seq === seq)
    );
  });
  return stores[0]?.state().position.seq ?? 0;
}

async function stalled(replicas: readonly MapReplica[], what: RegExp): Promise<void> {
  await eventually('all have stalled', () =>
    replicas.every((replica) => replica.status().lifecycle === 'stalled'),
  );
  for (const replica of replicas) {
    expect(replica.status().stalled?.code).toBe('LOG_REPLACED');
    expect(replica.status().stalled?.message).toMatch(what);
  }
}

/** Everything that the log holds of replicas, as `origin:counter`. */
async function transactionsIn(cluster: MapCluster): Promise<readonly string[]> {
  const log = (await cluster.connect()).log(cluster.name);
  const { lastSeq } = await log.open({ create: false });
  const found: string[] = [];
  for (let seq = 2; seq <= lastSeq; seq++) {
    const entry = await log.get(seq);
    if (entry === undefined || entry.origin.startsWith('_')) continue;
    for (const { origin, firstCounter } of decodeBatches(entry.data)) found.push(`${origin}:${firstCounter}`);
  }
  return found;
}

describe.each(KINDS)('I14: a log that lost its newest entries, %s', (_, options) => {
  it.each([
    ['shorter', 0],
    ['exactly as long as before', 1],
    ['longer than before', 3],
  ])('is noticed by running replicas, %s', async (_how, growth) => {
    await using cluster = await MapCluster.start();
    const all = await members(cluster, options);
    const [a] = all.replicas;
    await same(all);
    const old = await OldStore.copy(cluster);
    for (const key of ['x', 'y']) await put(a, key);
    const endSeq = await same(all);
    await old.grow((log) => fillTo(log, growth === 0 ? 0 : endSeq - 1 + growth));
    await old.putBack();
    await stalled(all.replicas, /ends at|another one|known|knows it as|lost its newest|had/);
    const written = a?.transaction((tx) => tx.put('z', 'after'), { timeoutMs: 500 });
    await written?.catch(() => undefined);
    const inLog = await transactionsIn(cluster);
    expect(inLog).not.toContain('a:3');
    expect(inLog).not.toContain('a:5');
    expect(all.stores[1]?.rows.has('z')).toBe(false);
  });

  it('is noticed at the start, before anything is published or applied', async () => {
    await using cluster = await MapCluster.start();
    const all = await members(cluster, options);
    await same(all);
    const old = await OldStore.copy(cluster);
    await put(all.replicas[0], 'x');
    const endSeq = await same(all);
    for (const replica of all.replicas) await replica.close();
    await old.grow((log) => fillTo(log, endSeq + 5));
    await old.putBack();
    const again = await Promise.all(
      all.stores.map((store, index) => cluster.replica('ab'[index] ?? '', store, options)),
    );
    for (const replica of again) {
      expect(replica.status()).toMatchObject({ lifecycle: 'stalled', stalled: { code: 'LOG_REPLACED' } });
      expect(replica.status().stalled?.message).toMatch(/entry \d+ is not the one/);
    }
  });
});

describe('I14: what others know of the log', () => {
  it('stops a replica that was down, and sees a log that looks whole to it', async () => {
    await using cluster = await MapCluster.start();
    const options: Options = { topology: 'multi-primary', limits };
    const all = await members(cluster, options);
    const store = new MapStore();
    const c = await cluster.replica('c', store, options);
    await c.caughtUp();
    await c.close();
    const old = await OldStore.copy(cluster);
    for (const key of ['x', 'y']) await put(all.replicas[0], key);
    const endSeq = await same(all);
    await old.grow((log) => fillTo(log, endSeq + 3));
    await old.putBack();
    const again = await cluster.replica('c', store, options);
    await stalled([...all.replicas, again], /./);
    expect(again.status().stalled?.message).toMatch(/knows it as|has dealt with its entry/);
  });
});

describe('I14: entries that were removed from a running cluster', () => {
  it.each(KINDS)('the one at the position, %s', async (_, options) => {
    await using cluster = await MapCluster.start();
    const all = await members(cluster, options);
    const seq = await same(all);
    await jetstream(cluster, 'STREAM.MSG.DELETE', { seq });
    await stalled(all.replicas, new RegExp(`entry ${seq} (of the stream \\S+ )?was removed`));
  });

  it.each(KINDS.filter(([name]) => name.includes('multi')))(
    'the newest own one, which others have followed, %s',
    async (_, options) => {
      await using cluster = await MapCluster.start();
      const { replicas, stores } = await members(cluster, options);
      const [a, b] = replicas;
      await put(a, 'mine');
      await eventually('b has it', () => stores[1]?.rows.has('mine') === true);
      const own = (await (await cluster.connect()).log(cluster.name).lastOf('a'))?.seq;
      await put(b, 'others');
      await same({ replicas, stores });
      await jetstream(cluster, 'STREAM.MSG.DELETE', { seq: own });
      await stalled([a as MapReplica], /a:\d+, which this replica has published, was removed/);
      expect(b?.status().lifecycle).not.toBe('stalled');
      // The other way writes to its own database, and keeps it.
      if (options.update === sync)
        await expect(a?.transaction((tx) => tx.put('more', 'x'))).rejects.toMatchObject({
          code: 'LOG_REPLACED',
        });
    },
  );

  it.each(KINDS)('all of them, %s', async (_, options) => {
    await using cluster = await MapCluster.start();
    const all = await members(cluster, options);
    await same(all);
    await jetstream(cluster, 'STREAM.PURGE', {});
    await stalled(all.replicas, /purged/);
  });
});

describe('I14: no false alarm', () => {
  it.each(KINDS)('over restarts of the server and of replicas, and trimming, %s', async (_, options) => {
    await using cluster = await MapCluster.start();
    let all = await members(cluster, options);
    for (let round = 0; round < 3; round++) {
      await put(all.replicas[0], `before ${round}`);
      await cluster.server.kill();
      await cluster.server.restart();
      await put(all.replicas[0], `between ${round}`);
      const seq = await same(all);
      if (round === 1) {
        // Up to the record of the log itself.
        await jetstream(cluster, 'STREAM.PURGE', { seq: 2 });
        await eventually('the record is there again', async () => (await same(all)) > seq);
      }
      for (const replica of all.replicas) await replica.close();
      const { stores } = all;
      const replicas = await Promise.all(
        stores.map((store, index) => cluster.replica('ab'[index] ?? '', store, options)),
      );
      all = { stores, replicas };
    }
    await put(all.replicas[0], 'last');
    await eventually('both have it', () => all.stores.every(({ rows }) => rows.has('last')));
    await new Promise((resolve) => setTimeout(resolve, 20 * limits.beatMs));
    for (const replica of all.replicas) {
      const { stalled: reason, alarms } = replica.status();
      expect({ reason, alarms }).toEqual({ reason: undefined, alarms: [] });
    }
  });
});

async function jetstream(cluster: MapCluster, operation: string, body: object): Promise<void> {
  const { connection } = await cluster.connect();
  const data = new TextEncoder().encode(JSON.stringify(body));
  const reply = await connection.request(`$JS.API.${operation}.ANTIPHON_${cluster.name}`, data, {
    timeout: 5000,
  });
  expect(reply.json()).toMatchObject({ success: true });
}
