import { AntiphonError, decodeBatches, type AppendResult, type Store } from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { eventually } from '@antiphon/testing';
import { fillTo, OldStore } from '../testing/lossy-log.js';
import {
  ClusterFixture,
  type SqliteReplica,
  type StartOptions as Options,
} from '../testing/cluster-fixture.js';
import { createKv, kvOf, put as putValue, type Kv } from '../testing/kv.js';

const limits = { beatMs: 50, inSyncLagMs: 1000 };
const primary = { mode: 'primary-replica', primary: 'a' } as const;
const sync = { mode: 'sync', acks: 'all', minInSync: 1 } as const;
const KINDS: readonly (readonly [name: string, options: Options])[] = [
  ['async, multi-primary', { topology: { mode: 'multi-primary' }, limits }],
  ['async, primary-replica', { topology: primary, limits }],
  ['sync, multi-primary', { topology: { mode: 'multi-primary' }, update: sync, limits }],
  ['sync, primary-replica', { topology: primary, update: sync, limits }],
];

interface Members {
  readonly tables: readonly Kv[];
  readonly stores: readonly Store<SqliteTransaction>[];
  readonly replicas: readonly SqliteReplica[];
}

const IDS = ['a', 'b'];

async function members(cluster: ClusterFixture, options: Options): Promise<Members> {
  createKv(cluster, 'a', { created: 'yes' });
  const all = await start(cluster, options);
  await put(all.replicas[0], 'first');
  await eventually('both have it', () => all.tables.every(({ rows }) => rows.has('first')));
  return all;
}

/** Also again: on the files that they had. */
async function start(cluster: ClusterFixture, options: Options): Promise<Members> {
  const tables = IDS.map((id) => kvOf(cluster, id));
  const stores = tables.map(({ file }) => sqlite({ file }));
  const replicas = await Promise.all(
    stores.map((store, index) => cluster.replica(IDS[index] ?? '', { ...options, store })),
  );
  return { tables, stores, replicas };
}

async function put(replica: SqliteReplica | undefined, key: string): Promise<void> {
  await surely(`write ${key}`, async () => void (replica && (await putValue(replica, key, key))));
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

async function stalled(replicas: readonly SqliteReplica[], what: RegExp): Promise<void> {
  await eventually('all have stalled', () =>
    replicas.every((replica) => replica.status().lifecycle === 'stalled'),
  );
  for (const replica of replicas) {
    expect(replica.status().stalled?.code).toBe('LOG_REPLACED');
    expect(replica.status().stalled?.message).toMatch(what);
  }
}

/** Everything that the log holds of replicas, as `origin:counter`. */
async function transactionsIn(cluster: ClusterFixture): Promise<readonly string[]> {
  const log = (await cluster.nats()).log(cluster.cluster);
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
    await using cluster = await ClusterFixture.start();
    const all = await members(cluster, options);
    const [a] = all.replicas;
    await same(all);
    const old = await OldStore.copy(cluster);
    for (const key of ['x', 'y']) await put(a, key);
    const endSeq = await same(all);
    await old.grow((log) => fillTo(log, growth === 0 ? 0 : endSeq - 1 + growth));
    await old.putBack();
    await stalled(all.replicas, /ends at|another one|known|knows it as|lost its newest|had/);
    if (a === undefined) throw new Error('there is no a');
    await putValue(a, 'z', 'after', { timeoutMs: 500 }).catch(() => undefined);
    const inLog = await transactionsIn(cluster);
    expect(inLog).not.toContain('a:3');
    expect(inLog).not.toContain('a:5');
    expect(all.tables[1]?.rows.has('z')).toBe(false);
  });

  it('is noticed at the start, before anything is published or applied', async () => {
    await using cluster = await ClusterFixture.start();
    const all = await members(cluster, options);
    await same(all);
    const old = await OldStore.copy(cluster);
    await put(all.replicas[0], 'x');
    const endSeq = await same(all);
    for (const replica of all.replicas) await replica.close();
    await old.grow((log) => fillTo(log, endSeq + 5));
    await old.putBack();
    for (const replica of (await start(cluster, options)).replicas) {
      expect(replica.status()).toMatchObject({ lifecycle: 'stalled', stalled: { code: 'LOG_REPLACED' } });
      expect(replica.status().stalled?.message).toMatch(/entry \d+ is not the one/);
    }
  });
});

describe('I14: what others know of the log', () => {
  it('stops a replica that was down, and sees a log that looks whole to it', async () => {
    await using cluster = await ClusterFixture.start();
    const options: Options = { topology: { mode: 'multi-primary' }, limits };
    const all = await members(cluster, options);
    const c = await cluster.replica('c', options);
    await c.caughtUp();
    await c.close();
    const old = await OldStore.copy(cluster);
    for (const key of ['x', 'y']) await put(all.replicas[0], key);
    const endSeq = await same(all);
    await old.grow((log) => fillTo(log, endSeq + 3));
    await old.putBack();
    const again = await cluster.replica('c', options);
    await stalled([...all.replicas, again], /./);
    expect(again.status().stalled?.message).toMatch(/knows it as|has dealt with its entry/);
  });
});

describe('I14: entries that were removed from a running cluster', () => {
  it.each(KINDS)('the one at the position, %s', async (_, options) => {
    await using cluster = await ClusterFixture.start();
    const all = await members(cluster, options);
    const seq = await same(all);
    await jetstream(cluster, 'STREAM.MSG.DELETE', { seq });
    await stalled(all.replicas, new RegExp(`entry ${seq} (of the stream \\S+ )?was removed`));
  });

  it.each(KINDS.filter(([name]) => name.includes('multi')))(
    'the newest own one, which others have followed, %s',
    async (_, options) => {
      await using cluster = await ClusterFixture.start();
      const all = await members(cluster, options);
      const [a, b] = all.replicas;
      await put(a, 'mine');
      await eventually('b has it', () => all.tables[1]?.rows.has('mine') === true);
      const own = (await (await cluster.nats()).log(cluster.cluster).lastOf('a'))?.seq;
      await put(b, 'others');
      await same(all);
      await jetstream(cluster, 'STREAM.MSG.DELETE', { seq: own });
      await stalled([a as SqliteReplica], /a:\d+, which this replica has published, was removed/);
      expect(b?.status().lifecycle).not.toBe('stalled');
      // The other way writes to its own database, and keeps it.
      if (options.update === sync)
        await expect(putValue(a as SqliteReplica, 'more', 'x')).rejects.toMatchObject({
          code: 'LOG_REPLACED',
        });
    },
  );

  it.each(KINDS)('the last one, which nobody had read, %s', async (_, options) => {
    await using cluster = await ClusterFixture.start();
    const all = await members(cluster, options);
    await same(all);
    for (const replica of all.replicas) await replica.close();
    const log = (await cluster.nats()).log(cluster.cluster);
    const request = { origin: 'stranger', id: 'stranger-1', data: new Uint8Array([0xc0]) };
    const stored = await new Promise<AppendResult>((settled) => log.append(request, settled));
    const seq = stored.type === 'stored' ? stored.seq : 0;
    await jetstream(cluster, 'STREAM.MSG.DELETE', { seq });
    const again = await start(cluster, options);
    // Whoever reads, and the primary that has to go on behind it: nobody waits for it for ever.
    await stalled(again.replicas, new RegExp(`entry ${seq} .*was removed`, 'i'));
  });

  it.each(KINDS)('all of them, %s', async (_, options) => {
    await using cluster = await ClusterFixture.start();
    const all = await members(cluster, options);
    await same(all);
    await jetstream(cluster, 'STREAM.PURGE', {});
    await stalled(all.replicas, /purged/);
  });
});

describe('I14: no false alarm', () => {
  it.each(KINDS)('over restarts of the server and of replicas, and trimming, %s', async (_, options) => {
    await using cluster = await ClusterFixture.start();
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
      all = await start(cluster, options);
    }
    await put(all.replicas[0], 'last');
    await eventually('both have it', () => all.tables.every(({ rows }) => rows.has('last')));
    await new Promise((resolve) => setTimeout(resolve, 20 * limits.beatMs));
    for (const replica of all.replicas) {
      const { stalled: reason, alarms } = replica.status();
      expect({ reason, alarms }).toEqual({ reason: undefined, alarms: [] });
    }
  });
});

async function jetstream(cluster: ClusterFixture, operation: string, body: object): Promise<void> {
  const { connection } = await cluster.nats();
  const data = new TextEncoder().encode(JSON.stringify(body));
  const reply = await connection.request(`$JS.API.${operation}.ANTIPHON_${cluster.cluster}`, data, {
    timeout: 5000,
  });
  expect(reply.json()).toMatchObject({ success: true });
}
