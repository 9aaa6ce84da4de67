import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { pacing, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const read = { seq: 9, storedAtMs: 1_795_434_405_575.532 };
const appended = { seq: 12, attempt: 'a:3.0-4.0~x1' };

describe('I14: the entry that a position names', () => {
  it('is in the database in the transaction that stores the position', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('b');
    await store.apply({ steps: [], position: { generation: 'g1', seq: 9, entry: read }, ...pacing });
    // Whatever was not committed is gone with a copy of the file.
    expect(cluster.shell('b', 'SELECT position_seq, entry_seq FROM _antiphon_state')).toBe('9|9');
    await store.close();
    const again = await cluster.join('b');
    expect(again.state().position).toEqual({ generation: 'g1', seq: 9, entry: read });
  });

  it('stays the newest one that is known when the position goes on', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    store.markPublished(0, { generation: 'g1', seq: 9, entry: read });
    store.markPublished(0, { generation: 'g1', seq: 10 });
    expect(store.state().position).toEqual({ generation: 'g1', seq: 10, entry: read });
    store.markPublished(0, { generation: 'g1', seq: 12, entry: appended });
    // An older one is no news.
    store.markPublished(0, { generation: 'g1', seq: 11, entry: { seq: 11, storedAtMs: 1 } });
    await store.close();
    const again = await cluster.join('a');
    expect(again.state().position).toEqual({ generation: 'g1', seq: 12, entry: appended });
  });
});
