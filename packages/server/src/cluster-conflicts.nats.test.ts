import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { get, post, Served } from './testing/served.js';

describe('GET /v1/cluster/conflicts', () => {
  it('has both rows of each conflict, of every replica that has decided it', async () => {
    await using served = await Served.start(2, {
      topology: { mode: 'multi-primary' },
      // What is written is sent so much later: until then, the other one writes as well.
      update: { mode: 'async', intervalMs: 500 },
    });
    const server = await served.server();
    const [a, b] = [served.replica('r1'), served.replica('r2')];
    await a.execute([{ sql: "INSERT INTO items (id, name, price) VALUES (1, 'old', 5)" }]);
    await served.cluster.caughtUp();
    const set = (name: string) => [{ sql: 'UPDATE items SET name = ? WHERE id = 1', params: [name] }];
    await eventually('both have written at once', async () => {
      await Promise.all([a.execute(set('of r1')), b.execute(set('of r2'))]);
      await served.cluster.caughtUp();
      return a.status().conflicts > 0 && b.status().conflicts > 0;
    });
    const { status, body } = await get(server, '/v1/cluster/conflicts');
    expect(status).toBe(200);
    const replicas = body['replicas'] as readonly {
      readonly id: string;
      readonly conflicts: readonly object[];
    }[];
    expect(replicas.map(({ id }) => id)).toEqual(['r1', 'r2']);
    for (const { conflicts } of replicas) {
      const [conflict] = conflicts as readonly { readonly winner: { readonly origin: string } }[];
      const [winner, loser] = conflict?.winner.origin === 'r1' ? ['r1', 'r2'] : ['r2', 'r1'];
      const row = (id: string) => [1, `of ${id}`, 5, null];
      expect(conflict).toMatchObject({
        ...{ table: 'items', key: [1], columns: ['id', 'name', 'price', 'picture'] },
        ...{ winner: { origin: winner }, loser: { origin: loser } },
        ...{ kept: row(winner), lost: row(loser), here: row(winner) },
      });
    }
  });
});

describe('a failover by hand', () => {
  it('says first what may be lost, and needs `force` while the primary answers', async () => {
    await using served = await Served.start(2, { failover: { mode: 'manual' } });
    const server = await served.server({}, 'r2');
    const plan = await get(server, '/v1/cluster/failover?to=r2');
    expect(plan).toMatchObject({ status: 200, body: { to: 'r2', primary: 'r1', answers: true } });
    const says = (plan.body['says'] as readonly string[]).join('\n');
    expect(says).toMatch(/r2 becomes the primary of test, in place of r1\.\nr1 answers: it is primary/);
    expect(says).toMatch(/goes to its rescue ledger: \d+ transactions? now/);
    const refused = await post(server, '/v1/admin/failover', { to: 'r2' });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'MEMBER_RUNNING' } } });
    expect(refused.body.error?.['message']).toContain('`force`');
    const done = await post(server, '/v1/admin/failover', { to: 'r2', force: true });
    expect(done).toMatchObject({ status: 200, body: { primary: 'r2', epoch: 2, elected: true } });
    expect(done.body['says']).toContain('antiphon rescue list --replica r1');
    const again = await post(server, '/v1/admin/failover', { to: 'r2' });
    expect(again).toMatchObject({ status: 200, body: { primary: 'r2', epoch: 2, elected: true } });
    const nobody = await get(server, '/v1/cluster/failover?to=r9');
    expect(nobody.body.error).toMatchObject({ code: 'NOT_FOUND' });
  });
});
