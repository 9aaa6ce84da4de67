import {
  type AgreedLimits,
  agreedOf,
  CLUSTER_KEY,
  decodeClusterDocument,
  DEFAULT_ROW_LIMITS,
  encodeBatch,
  encodeClusterDocument,
  registerMember,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { changeAgreedLimits, type LimitsChange } from '../membership/change-limits.js';
import { DEFAULT_LIMITS } from '../config/limits.js';
import { ClusterFixture, count } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

const SCHEMA = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)';
const HOUR_MS = 3_600_000;
const limits = { beatMs: 50 };

/** A cluster of which `ghost` is a member too, whose clock the test sets. */
class Clocks {
  #counter = 0;

  private constructor(readonly cluster: ClusterFixture) {}

  static async start(cluster: ClusterFixture): Promise<Clocks> {
    const registry = (await cluster.nats()).registry('shop');
    const record = { id: 'ghost', joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'g' };
    await registerMember(registry, record);
    return new Clocks(cluster);
  }

  /** One row of `ghost`, whose clock is so far ahead. */
  async write(aheadMs: number, { again = false } = {}): Promise<void> {
    const log = (await this.cluster.nats()).log('shop');
    await log.open({ create: false });
    if (!again) this.#counter++;
    const counter = this.#counter;
    const time = (Date.now() + aheadMs) * 1000;
    const data = encodeBatch({
      ...{ kind: 'transactions', origin: 'ghost', firstCounter: counter, epoch: 0, time, context: {} },
      schemaVersion: 1,
      tables: [{ name: 'items', columns: ['id', 'name'], key: [0] }],
      transactions: [{ counter, time, changes: [{ op: 'insert', table: 0, row: [BigInt(counter), 'x'] }] }],
    });
    await new Promise<void>((resolve) =>
      log.append({ origin: 'ghost', id: `g${Math.random()}`, data }, () => resolve()),
    );
  }
}

async function change(cluster: ClusterFixture, limits: Partial<AgreedLimits>): Promise<LimitsChange> {
  const nats = await cluster.nats();
  const ports = { registry: nats.registry('shop'), log: nats.log('shop'), bus: nats.bus() };
  return changeAgreedLimits({ cluster: 'shop', ...ports }, limits);
}

describe('I15: limits by which all judge the same messages', () => {
  it('are fixed when the cluster is created; who says otherwise is told both values', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { limits: { ...limits, clockRefusalMs: HOUR_MS } });
    const b = await cluster.replica('b', { limits });
    await expect(
      cluster.replica('c', { limits: { ...limits, clockRefusalMs: 2 * HOUR_MS } }),
    ).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringMatching(
        /limits\.clockRefusalMs: here 7200000, the cluster has 3600000 .*antiphon settings set/,
      ) as unknown,
    });
    const clocks = await Clocks.start(cluster);
    await clocks.write(HOUR_MS / 2);
    await eventually('both have it', async () => (await count(a, 'items')) + (await count(b, 'items')) === 2);
    await clocks.write(HOUR_MS * 1.5);
    await eventually('both quarantined it', () => a.status().quarantined + b.status().quarantined === 2);
  });

  it('are changed while nobody runs, for what comes after: whoever reads later judges as the others did', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { limits: { ...limits, clockRefusalMs: HOUR_MS } });
    const b = await cluster.replica('b', { limits });
    await b.caughtUp();
    await b.close();
    const clocks = await Clocks.start(cluster);
    await clocks.write(HOUR_MS * 1.5);
    await eventually('a quarantines it', () => a.status().quarantined === 1);
    await expect(change(cluster, { clockRefusalMs: 2 * HOUR_MS })).rejects.toMatchObject({
      code: 'MEMBER_RUNNING',
      message: expect.stringContaining('a of cluster shop runs') as unknown,
    });
    await expect(change(cluster, { clockRefusalMs: 1 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const { seq } = a.status().position;
    await a.close();
    expect(await change(cluster, { clockRefusalMs: 2 * HOUR_MS })).toEqual({
      before: { clockRefusalMs: HOUR_MS, ...DEFAULT_ROW_LIMITS },
      after: { clockRefusalMs: 2 * HOUR_MS, ...DEFAULT_ROW_LIMITS },
      fromSeq: seq + 1,
    });
    await expect(
      cluster.replica('a', { limits: { ...limits, clockRefusalMs: HOUR_MS } }),
    ).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
    const again = await Promise.all(['a', 'b'].map((id) => cluster.replica(id, { limits })));
    await eventually('b judges as a did', () => again.every((replica) => replica.status().quarantined === 1));
    expect(again.map((replica) => replica.status().vector['ghost'])).toEqual([undefined, undefined]);
    await clocks.write(HOUR_MS * 1.5, { again: true });
    await eventually('and takes what came after', async () =>
      (await Promise.all(again.map((replica) => count(replica, 'items')))).every((rows) => rows === 1),
    );
  });

  it('end a replica that runs on without having heard of the change', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', { limits });
    const registry = (await cluster.nats()).registry('shop');
    const entry = await registry.get(CLUSTER_KEY);
    if (entry === undefined) throw new Error('there is no document');
    const document = decodeClusterDocument(entry.value);
    const changed = {
      ...document,
      limits: [...document.limits, { ...agreedOf(DEFAULT_LIMITS), fromSeq: 9 }],
    };
    await registry.update(CLUSTER_KEY, encodeClusterDocument(changed), entry.revision);
    expect(await a.ended).toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringContaining('were changed while a ran. Start it again') as unknown,
    });
  });

  it('of values and rows are the same wherever a row is written, and changed for all', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    await expect(
      cluster.replica('a', { limits: { ...limits, valueBytes: 2000, rowBytes: 1999 } }),
    ).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('rowBytes` (1999) is less') as unknown,
    });
    await expect(cluster.replica('a', { limits: { ...limits, valueBytes: 2 ** 30 } })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('from 1024 to 268435456') as unknown,
    });
    const a = await cluster.replica('a', { limits: { ...limits, valueBytes: 2000 } });
    const b = await cluster.replica('b', { limits });
    await expect(cluster.replica('c', { limits: { ...limits, valueBytes: 3000 } })).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringContaining('limits.valueBytes: here 3000, the cluster has 2000') as unknown,
    });
    await b.caughtUp();
    const name = 'x'.repeat(2001);
    for (const replica of [a, b]) {
      await expect(
        replica.transaction((tx) => tx.run('INSERT INTO items VALUES (1, ?)', [name])),
      ).rejects.toMatchObject({
        code: 'CONSTRAINT',
        message: expect.stringContaining('a value may have 2000 bytes') as unknown,
      });
    }
    expect(() => cluster.sql('b', `INSERT INTO items VALUES (2, '${name}')`)).toThrow(/too large/);
    await Promise.all([a.close(), b.close()]);
    await expect(change(cluster, { rowBytes: 1500 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await change(cluster, { valueBytes: 2001 });
    const again = await cluster.replica('a', { limits });
    const other = await cluster.replica('b', { limits });
    await other.transaction((tx) => tx.run('INSERT INTO items VALUES (1, ?)', [name]));
    await eventually('a has it', async () => (await count(again, 'items')) === 1);
  });
});
