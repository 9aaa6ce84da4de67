import { afterEach, describe, expect, it } from 'vitest';
import { sqlite3, type ChaosCluster } from './cluster.js';
import { ledgerOf, SHORT_FAILOVER, untilPrimaryIs, writeEntry, type WriteId } from './failover-cluster.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Only who is told to takes over. */
const failover = { ...SHORT_FAILOVER, mode: 'manual' };

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** What every replica says has become of it. */
function outcomesOf(
  chaos: ChaosCluster,
  of: WriteId,
): Promise<readonly { outcome: string; reason?: string }[]> {
  return Promise.all(chaos.replicas.map((replica) => replica.ask('outcome', { of })) as never);
}

describe('two replicas that are the primary in turns, each with a tail when it loses that', () => {
  it('I2 I3 I8: no number stands for two writes, and every replica tells what became of each', async () => {
    const options = { topology, failover, update: { mode: 'async' }, proxied: true };
    cluster = await startSync({ ids: ['a', 'b', 'c'], ...options });
    const chaos = cluster;
    const [a, b] = [chaos.at(0), chaos.at(1)];
    const kept: WriteId[] = [];
    const lost: WriteId[] = [];
    const check = async (): Promise<void> => {
      for (const id of kept)
        for (const told of await outcomesOf(chaos, id))
          expect(told, JSON.stringify(id)).toMatchObject({ outcome: 'committed' });
      for (const id of lost)
        for (const told of await outcomesOf(chaos, id))
          expect(told, JSON.stringify(id)).toMatchObject({
            outcome: 'rejected',
            reason: expect.stringContaining(`rescue ledger of ${id.origin}`) as string,
          });
    };
    const ways = ['killed', 'stopped', 'cut off'] as const;
    for (const [round, way] of ways.entries()) {
      const [from, to] = round % 2 === 0 ? [a, b] : [b, a];
      kept.push(await writeEntry(from, `kept-${round}`));
      await chaos.converged();
      chaos.linkOf(from).silence();
      for (let n = 0; n < 3; n++) lost.push(await writeEntry(from, `tail-${round}-${n}`));
      // Sealed under a number of its own, or undone before it has one.
      sqlite3(from.config.file, `INSERT INTO entries VALUES ('shell-${round}', '')`);
      if (way === 'killed') await from.kill();
      if (way === 'stopped') from.pause();
      expect(await to.ask('takeOver')).toMatchObject({ primary: to.config.id, elected: true });
      kept.push(await writeEntry(to, `of-the-next-${round}`));
      // What was under way comes now.
      chaos.linkOf(from).heal();
      if (way === 'killed') await from.start();
      if (way === 'stopped') from.resume();
      await untilPrimaryIs(chaos, to.config.id);
      await chaos.converged();
      await check();
    }
    for (const replica of chaos.replicas) {
      await replica.kill();
      await replica.start();
    }
    await check();
    const ids = chaos.replicas.flatMap((replica) =>
      ledgerOf(replica).map(({ counter }) => `${replica.config.id}:${counter}`),
    );
    expect(new Set(ids).size, ids.join()).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(lost.map(({ origin, counter }) => `${origin}:${counter}`)));
    expect(ids).toHaveLength(4 * ways.length);
    expect(kept.filter(({ origin, counter }) => ids.includes(`${origin}:${counter}`))).toEqual([]);
    const [rows] = chaos.read('SELECT id FROM entries ORDER BY id');
    expect(rows).not.toMatch(/tail|shell/);
    expect(rows?.split('],')).toHaveLength(kept.length);
  });
});
