import { encodeBatch, registerMember, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { createKv, kvOf, put } from '../testing/kv.js';
import { verifyCluster } from '../service/verify.js';

const SCHEMA = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)';
const LONG = 'x'.repeat(1000);

/** What a replica `ghost` would have written, which nobody knows yet. */
function ofGhost(counter: number, name: string): Uint8Array {
  const time = systemClock().nowMs() * 1000;
  return encodeBatch({
    ...{ kind: 'transactions', origin: 'ghost', firstCounter: counter, epoch: 0, time, context: {} },
    schemaVersion: 1,
    tables: [{ name: 'items', columns: ['id', 'name'], key: [0] }],
    transactions: [
      { counter, time, changes: [{ op: 'insert', table: 0, row: [BigInt(100 + counter), name] }] },
    ],
  });
}

/** `beatMs`: a replica that misses something looks for it by itself, beat by beat. */
async function startTwo(
  cluster: ClusterFixture,
  limits: { readonly beatMs?: number } = {},
): Promise<readonly [SqliteReplica, SqliteReplica]> {
  cluster.sql('a', SCHEMA);
  const a = await cluster.replica('a', { limits });
  return [a, await cluster.replica('b', { limits })];
}

async function publish(cluster: ClusterFixture, ...messages: readonly Uint8Array[]): Promise<void> {
  const log = (await cluster.nats()).log('shop');
  await log.open({ create: false });
  for (const [index, data] of messages.entries()) {
    await new Promise<void>((resolve) =>
      log.append({ origin: 'ghost', id: `g${index}-${Math.random()}`, data }, () => resolve()),
    );
  }
}

async function quarantined(replicas: readonly SqliteReplica[], messages: number): Promise<void> {
  await eventually('they are quarantined', () =>
    replicas.every((replica) => replica.status().quarantined === messages),
  );
}

async function outcomeOfVerify(cluster: ClusterFixture): Promise<string> {
  const nats = await cluster.nats();
  const ports = { bus: nats.bus(), registry: nats.registry('shop'), clock: systemClock() };
  return (await verifyCluster({ ...ports, cluster: 'shop' })).outcome;
}

describe('quarantine', () => {
  it('I2, I15: shows what was quarantined, and applies it once it is acceptable and next from its origin', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = await startTwo(cluster, { beatMs: 120_000 });
    await publish(cluster, ofGhost(2, 'second'), ofGhost(1, LONG));
    await quarantined([a, b], 2);
    const { messages, total, bytes, discarded, more } = await b.quarantine.list();
    expect({ total, discarded, more }).toEqual({ total: 2, discarded: 0, more: false });
    expect(messages).toMatchObject([
      { origin: 'ghost', code: 'UNKNOWN_ORIGIN' },
      { origin: 'ghost', code: 'UNKNOWN_ORIGIN' },
    ]);
    const [second, first] = messages;
    if (second === undefined || first === undefined) throw new Error('nothing was quarantined');
    expect(bytes).toBe(second.bytes + first.bytes);
    expect(Math.abs(second.quarantinedAtMs - Date.now())).toBeLessThan(60_000);
    expect(await b.quarantine.show(first.seq)).toMatchObject([
      {
        seq: first.seq,
        content: {
          type: 'readable',
          batches: [{ origin: 'ghost', firstCounter: 1, lastCounter: 1, tables: ['items'] }],
          changes: [
            {
              ...{ transaction: 'ghost:1', op: 'insert', table: 'items' },
              row: { id: 101n, name: { start: LONG.slice(0, 200), length: 1000 } },
            },
          ],
        },
      },
    ]);
    const nobody = await b.quarantine.retry();
    expect(nobody.results.map(({ state }) => state)).toEqual(['refused', 'refused']);
    expect(nobody.results[0]?.message).toMatch(
      /stays in quarantine: ghost is not a member of the cluster\.$/,
    );

    const registry = (await cluster.nats()).registry('shop');
    const record = { id: 'ghost', joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'g' };
    await registerMember(registry, record);
    const early = await b.quarantine.retry({ seq: second.seq });
    expect(early.results).toMatchObject([{ seq: second.seq, state: 'refused' }]);
    expect(early.results[0]?.message).toContain('ghost:1 comes before it, and is not here yet');
    expect(await count(b, 'items')).toBe(0);
    for (const replica of [a, b]) {
      expect((await replica.quarantine.retry({ seq: first.seq })).results).toMatchObject([
        { state: 'applied' },
      ]);
      expect((await replica.quarantine.retry()).results).toMatchObject([
        { seq: second.seq, state: 'applied' },
      ]);
      expect(replica.status()).toMatchObject({ quarantined: 0, waitingFor: [], vector: { ghost: 2 } });
      expect((await replica.quarantine.list()).discarded).toBe(0);
    }
    expect(await rowsOf(a, 'items')).toBe(await rowsOf(b, 'items'));
    expect(await count(a, 'items')).toBe(2);
    expect(await outcomeOfVerify(cluster)).toBe('equal');
    await a.execute([{ sql: "INSERT INTO items VALUES (1, 'after it')" }]);
    // It comes into the log after the write is complete.
    await eventually('b has it', async () => (await count(b, 'items')) === 3);
  });

  it('shows what cannot be read as it is, and forgets it only when told to, which is counted', async () => {
    await using cluster = await ClusterFixture.start();
    const [a, b] = await startTwo(cluster);
    await publish(cluster, Buffer.from('hello'), Buffer.from('hello'), ofGhost(1, 'kept'));
    await quarantined([a, b], 3);
    const [first] = (await a.quarantine.list()).messages;
    if (first === undefined) throw new Error('nothing was quarantined');
    expect(await a.quarantine.show(first.seq)).toMatchObject([
      { content: { type: 'unreadable', hex: Buffer.from('hello').toString('hex'), bytes: 5 } },
    ]);
    expect(await a.quarantine.discard({ seq: first.seq })).toEqual({ discarded: 1, waitingFor: [] });
    await expect(a.quarantine.show(first.seq)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(await a.quarantine.list()).toMatchObject({ total: 2, discarded: 1 });
    await a.close();
    const again = await cluster.replica('a');
    expect(await again.quarantine.discard()).toMatchObject({ discarded: 2 });
    expect(await again.quarantine.list()).toMatchObject({ messages: [], total: 0, bytes: 0, discarded: 3 });
    expect(again.status().vector).not.toHaveProperty('ghost');
  });

  it('keeps no more than its limits, and says how many it did not keep', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const limits = { quarantinedMessages: 2 };
    const a = await cluster.replica('a', { limits });
    await publish(cluster, ...Array.from({ length: 5 }, () => Buffer.from('hello')));
    await eventually('all were seen', async () => (await a.quarantine.list()).overflow === 3);
    expect(await a.quarantine.list()).toMatchObject({ total: 2, bytes: 10 });
    await a.quarantine.discard();
    await publish(cluster, Buffer.from('again'));
    await quarantined([a], 1);
  });

  it('tries at once what the database did not take', async () => {
    await using cluster = await ClusterFixture.start();
    const store = kvOf(cluster, 'b');
    createKv(cluster, 'a');
    const a = await cluster.replica('a');
    const b = await cluster.replica('b');
    store.refuse('refused');
    await put(a, 'k', 'refused');
    // The waits have grown to seconds.
    await eventually('b waits for long', () => (b.status().holding?.attempts ?? 0) >= 6, 20_000);
    const { holding, messages } = await b.quarantine.list();
    expect(messages).toEqual([]);
    expect(holding).toMatchObject({ origin: 'a', counter: 1 });
    expect(holding?.nextTryAtMs).toBeGreaterThan(Date.now());
    const refused = await b.quarantine.retry();
    expect(refused).toMatchObject({ results: [], held: { applied: false } });
    expect(refused.held?.message).toContain('malformed JSON');
    store.accept();
    const beganAtMs = performance.now();
    expect((await b.quarantine.retry()).held).toMatchObject({ applied: true });
    expect(performance.now() - beganAtMs).toBeLessThan(2000);
    expect(store.rows.get('k')).toBe('refused');
    expect((await b.quarantine.retry()).held).toBeUndefined();
  });
});
