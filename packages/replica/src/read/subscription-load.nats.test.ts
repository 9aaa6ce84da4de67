import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

const SCHEMA = 'CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT)';
const TRANSACTIONS = 40;
/** Of one in ten transactions: more than a message holds, so that it travels in parts. */
const MANY_ROWS = 500;

async function write(replica: SqliteReplica, big: boolean): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let n = 0; n < TRANSACTIONS; n++) {
    const rows = big && n % 10 === 5 ? MANY_ROWS : 1 + (n % 3);
    const mine = Array.from({ length: rows }, (_, row) => `${replica.id} ${n} ${row}`);
    ids.push(...mine);
    await replica.transaction((tx) => {
      for (const id of mine) tx.run('INSERT INTO t VALUES (?, ?)', [id, 'x'.repeat(1000)]);
    });
  }
  return ids;
}

it.each([{ mode: 'async' }, { mode: 'sync', acks: 'local', minInSync: 1 }] as const)(
  'I16: three writers at once, update %j: an instance after another, on every replica in turn',
  async (update) => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const replicas = [await cluster.replica('a', { update })];
    for (const id of ['b', 'c']) replicas.push(await cluster.replica(id, { update }));
    const confirmed = new Map<string, number>();
    const delivered = new Map<string, number>();
    const order: string[] = [];
    let ended = false;
    const reading = (async () => {
      for (let instance = 0; !ended; instance++) {
        const on = replicas[instance % replicas.length]!;
        await using subscription = on.subscribe('all', { from: 'beginning', leaseMs: 1000 });
        let left = 200 + 150 * (instance % 5);
        for await (const change of subscription) {
          const id = String(change.key['id']);
          if (id === 'end') ended = true;
          expect(confirmed.has(id)).toBe(false);
          if (!delivered.has(id)) order.push(`${change.id.origin}:${change.id.counter}`);
          delivered.set(id, (delivered.get(id) ?? 0) + 1);
          if (change.last || left % 7 === 0) {
            const acked = subscription.ack(change);
            if (left % 50 === 0) await acked.then(() => confirmed.set(id, instance));
          }
          if (--left <= 0 || ended) break;
        }
      }
    })();
    const written = await Promise.all(replicas.map((replica) => write(replica, update.mode === 'async')));
    const inStep = (): Promise<boolean> =>
      Promise.all(replicas.map((replica) => replica.caughtUp())).then(
        () => true,
        () => false,
      );
    await eventually('everything is everywhere', inStep, 20_000);
    await replicas[0]!.execute([{ sql: "INSERT INTO t VALUES ('end', '')" }]);
    await eventually('the last one is delivered', () => ended, 25_000);
    await reading;
    for (const id of written.flat()) expect(delivered.has(id), id).toBe(true);
    for (const origin of ['a', 'b', 'c']) {
      const counters = order.filter((one) => one.startsWith(`${origin}:`)).map((one) => Number(one.slice(2)));
      expect(counters).toEqual(counters.toSorted((one, other) => one - other));
    }
  },
);
