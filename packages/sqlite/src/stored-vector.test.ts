import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, giveWay } from '../test/cluster.js';
import { batchOf, installOptions, newClock, pacing, pairOf } from '../test/pair.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** Applies an empty transaction of each of these origins, with this counter. */
async function applyOf(origins: readonly string[], counter: number): Promise<void> {
  const { store } = cluster.member('b');
  const batch = { ...batchOf(cluster, 0), firstCounter: counter };
  const { generation, seq } = store.state().position;
  await store.apply({
    steps: origins.map((origin) => ({
      type: 'transactions',
      batch: {
        ...batch,
        origin,
        transactions: batch.transactions.slice(0, 1).map((only) => ({ ...only, counter, changes: [] })),
      },
      skip: 0,
      seq: seq + 1,
    })),
    position: { generation, seq: seq + 1 },
    ...pacing,
  });
}

async function reopened(): Promise<Readonly<Record<string, number>>> {
  await cluster.member('b').store.close();
  const store = sqlite({ file: cluster.directory.file('b') });
  try {
    await store.inspect();
    await store.install(installOptions(cluster, 'b', { primary: 'first' }), newClock());
    return store.state().vector;
  } finally {
    await store.close();
  }
}

const names = (many: number): string[] => Array.from({ length: many }, (_, index) => `o${index}`);
const inTable = (): string => cluster.shell('b', 'SELECT count(*) FROM _antiphon_vector');

describe('the stored vector', () => {
  it('I1: of a few other writers costs no page but that of the state', async () => {
    cluster = await pairOf();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    for (let counter = 1; counter <= 3; counter++) await applyOf(names(8), counter);
    expect(inTable()).toBe('0');
    expect(await reopened()).toEqual(Object.fromEntries(names(8).map((name) => [name, 3])));
  });

  it.each([1, 5, 30])('I1: of many others is whole after a restart, %i at a time', async (atATime) => {
    cluster = await pairOf();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    const expected: Record<string, number> = {};
    for (let counter = 1; counter <= 3; counter++) {
      for (let from = 0; from < 30; from += atATime) {
        // In the last round the first one does not move: the table has it, and the row does not.
        const moving = names(30)
          .slice(from, from + atATime)
          .filter((name) => counter < 3 || name !== 'o0');
        await applyOf(moving, counter);
        for (const name of moving) expected[name] = counter;
        await giveWay();
      }
    }
    const { store } = cluster.member('b');
    expect(store.state().vector).toEqual(expected);
    expect((await store.checksum()).vector).toEqual(expected);
    expect(Number(inTable())).toBeGreaterThan(20);
    expect(await reopened()).toEqual(expected);
  });
});
