import { connectNats } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { pause, sqlite3, type ChaosCluster } from './cluster.js';
import { ledgerOf, SHORT_FAILOVER, untilPrimaryIs, writeEntry, type WriteId } from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Only who is told to takes over. */
const failover = { ...SHORT_FAILOVER, mode: 'manual' };
/** How many messages a primary has under way, `limits.windowMessages`. */
const WINDOW = 256;

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

/** `a`, and what it has written while its messages were on their way. */
interface Way {
  readonly chaos: ChaosCluster;
  readonly a: ReplicaHandle;
  readonly ids: readonly WriteId[];
}

/** Messages of the first `before` writes come into the log, and those of the others not yet. */
async function onTheirWay(before: number, count: number): Promise<Way> {
  cluster = await startSync({ topology, failover, update: { mode: 'async' }, proxied: true });
  const chaos = cluster;
  const a = chaos.at(0);
  let sent = 0;
  chaos.linkOf(a).intercept((subject) => subject.endsWith('.log.a') && ++sent > before);
  const ids: WriteId[] = [];
  for (let n = 0; n < count; n++) ids.push(await writeEntry(a, `entry-${n}`));
  const inFlight = Math.min(count - before, WINDOW);
  await eventually('they are on their way', () => chaos.linkOf(a).held('.log.a') === inFlight);
  return { chaos, a, ids };
}

/** What `a` takes to be in the log. */
function publishedOf(a: ReplicaHandle): number {
  return Number(sqlite3(a.config.file, 'SELECT published_counter FROM _antiphon_state'));
}

/** Entries of `a` in the log that are behind the newest record of an epoch. */
async function storedTooLate({ server }: ChaosCluster): Promise<number> {
  const nats = await connectNats({ servers: server.url });
  try {
    const log = nats.log('chaos');
    const { lastSeq } = await log.open({ create: false });
    const { seq = Infinity } = (await log.lastOf('_epoch')) ?? {};
    const behind = Array.from({ length: Math.max(0, lastSeq - seq) }, (_, n) => log.get(seq + 1 + n));
    return (await Promise.all(behind)).filter((entry) => entry?.origin === 'a').length;
  } finally {
    await nats.close();
  }
}

describe('messages that are on their way when another replica takes over', () => {
  it('I2 I3 I9: the record is between the third and the fourth one of a chain of eight', async () => {
    const { chaos, a, ids } = await onTheirWay(3, 8);
    await eventually('three are in the log', () => publishedOf(a) === ids[2]?.counter);
    await chaos.at(1).ask('takeOver');
    await writeEntry(chaos.at(1), 'of-the-next');
    chaos.linkOf(a).heal();
    await untilPrimaryIs(chaos, 'b');
    await chaos.converged();
    expect(await storedTooLate(chaos), 'stored behind the record').toBe(0);
    expect(publishedOf(a)).toBe(ids[2]?.counter);
    expect(ledgerOf(a).map(({ counter }) => counter)).toEqual(ids.slice(3).map(({ counter }) => counter));
    expect(chaos.read('SELECT id FROM entries ORDER BY id')[0]).toBe(
      JSON.stringify([['entry-0'], ['entry-1'], ['entry-2'], ['of-the-next']]),
    );
  });

  it('I2 I3 I9: a whole window of them, of a primary that is stopped meanwhile', async () => {
    const { chaos, a, ids } = await onTheirWay(0, WINDOW + 20);
    const before = publishedOf(a);
    a.pause();
    await chaos.at(1).ask('takeOver');
    await writeEntry(chaos.at(1), 'of-the-next');
    chaos.linkOf(a).heal();
    await pause(200);
    a.resume();
    await untilPrimaryIs(chaos, 'b');
    await chaos.converged();
    expect(await storedTooLate(chaos), 'stored behind the record').toBe(0);
    expect(publishedOf(a)).toBe(before);
    expect(ledgerOf(a).map(({ counter }) => counter)).toEqual(ids.map(({ counter }) => counter));
    expect(chaos.read('SELECT id FROM entries')[0]).toBe(JSON.stringify([['of-the-next']]));
  });

  it('I2 I3: a whole window that is in the log, of which no answer has come', async () => {
    cluster = await startSync({ topology, failover, update: { mode: 'async' }, proxied: true });
    const chaos = cluster;
    const a = chaos.at(0);
    chaos.linkOf(a).holdAnswers();
    for (let n = 0; n < WINDOW; n++) await writeEntry(a, `entry-${n}`);
    const before = publishedOf(a);
    await eventually(
      'all are in the log',
      () => chaos.read('SELECT count(*) FROM entries')[1] === `[["${WINDOW}n"]]`,
    );
    a.pause();
    await chaos.at(1).ask('takeOver');
    await writeEntry(chaos.at(1), 'of-the-next');
    expect(publishedOf(a)).toBe(before);
    chaos.linkOf(a).heal();
    a.resume();
    await untilPrimaryIs(chaos, 'b');
    await chaos.converged();
    expect(ledgerOf(a)).toEqual([]);
    expect(chaos.read('SELECT count(*) FROM entries')[0]).toBe(`[["${WINDOW + 1}n"]]`);
  });
});
