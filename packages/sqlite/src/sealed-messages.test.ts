import { afterEach, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { PROCESS } from './surroundings.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

it('I1: nobody reads what a transaction has sealed that gives way and is not committed yet', async () => {
  let nowMs = 0;
  let reading: (() => Promise<void>) | undefined;
  // Each look at the clock finds the slice at its end.
  const surroundings = {
    ...PROCESS,
    monotonicMs: () => (nowMs += 10),
    turn: async () => reading?.(),
    sealing: { packBytes: 200, partBytes: 400 },
  };
  cluster = new Cluster({ surroundings });
  const store = await cluster.first('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const all = { counter: 0, part: 0 };
  // So much that it is not kept in memory for whoever sends it.
  for (let id = 1; id <= 3; id++) cluster.directory.shell('a', `INSERT INTO t VALUES (${id}, 'early')`);
  await store.seal();
  await store.sealed(all, Infinity);
  const { lastCounter } = store.state();
  const seen: number[] = [];
  reading = async () => {
    const messages = await store.sealed(all, Infinity);
    seen.push(messages.at(-1)?.lastCounter ?? 0);
  };
  for (let id = 4; id <= 9; id++)
    cluster.directory.shell('a', `INSERT INTO t VALUES (${id}, hex(randomblob(500)))`);
  await store.seal();
  reading = undefined;
  expect(store.state().lastCounter).toBeGreaterThan(lastCounter);
  expect(seen.length, 'it gave way').toBeGreaterThan(0);
  expect(new Set(seen)).toEqual(new Set([lastCounter]));
  const after = await store.sealed(all, Infinity);
  expect(after.at(-1)?.lastCounter).toBe(store.state().lastCounter);
});
