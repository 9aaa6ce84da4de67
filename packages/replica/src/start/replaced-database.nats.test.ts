import { backup, DatabaseSync } from 'node:sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture, count, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const SCHEMA = "CREATE TABLE t (id TEXT PRIMARY KEY, n INT); INSERT INTO t VALUES ('first', 1);";
const REBUILD = `CREATE TABLE u (id TEXT PRIMARY KEY, n INT); INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t;
  INSERT INTO t VALUES ('unseen', 2);`;
const TOPOLOGY = { topology: { mode: 'primary-replica', primary: 'r1' } } as const;

async function pair(options = {}): Promise<[SqliteReplica, SqliteReplica]> {
  fixture = await ClusterFixture.start();
  fixture.sql('r1', SCHEMA);
  const r1 = await fixture.replica('r1', { ...TOPOLOGY, ...options });
  const r2 = await fixture.replica('r2', { ...TOPOLOGY, ...options });
  await r2.caughtUp();
  return [r1, r2];
}

async function expectStalled(replica: SqliteReplica): Promise<void> {
  await eventually('it stalls', () => replica.status().lifecycle === 'stalled', {
    seen: () => replica.status().lifecycle,
  });
  expect(replica.status().stalled).toMatchObject({ code: 'SCHEMA_DRIFT' });
}

it.each([
  ['on a primary', 'r1', {}],
  ['on a replica that takes no writes', 'r2', {}],
  ['in a synchronous cluster', 'r1', { update: { mode: 'sync', acks: 'all', minInSync: 1 } }],
] as const)(
  'I3: a table that another program rebuilds %s stalls it, without any write',
  async (_where, id, options) => {
    const [r1, r2] = await pair(options);
    fixture.sql(id, REBUILD);
    const stalled = id === 'r1' ? r1 : r2;
    await expectStalled(stalled);
    expect(stalled.status().stalled?.message).toMatch(/table t: .*antiphon recapture t --dry-run/);
    if (id === 'r1') await expect(r1.execute([{ sql: `INSERT INTO t VALUES ('x', 1)` }])).rejects.toThrow();
    await stalled.close();
    // What was not captured is not forgotten by a restart.
    await expectStalled(await fixture.replica(id, { ...TOPOLOGY, ...options }));
  },
);

it('I1: an older copy restored under a running replica ends it, and a new start goes on from the log', async () => {
  const [r1, r2] = await pair();
  const live = new DatabaseSync(fixture.file('r1'));
  await backup(live, fixture.file('copy'));
  live.close();
  await r1.execute([{ sql: `INSERT INTO t VALUES ('after the copy', 2)` }]);
  await eventually('r2 has two rows', async () => (await count(r2, 't')) === 2);
  const copy = new DatabaseSync(fixture.file('copy'));
  await backup(copy, fixture.file('r1'));
  copy.close();
  await expect(r1.ended).resolves.toMatchObject({ code: 'STORE_REPLACED' });
  const again = await fixture.replica('r1', TOPOLOGY);
  await again.execute([{ sql: `INSERT INTO t VALUES ('after the start', 3)` }]);
  await eventually('r2 has three rows', async () => (await count(r2, 't')) === 3);
  expect(await count(again, 't')).toBe(3);
});
