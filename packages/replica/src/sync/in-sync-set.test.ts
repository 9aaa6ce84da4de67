import {
  type AppendRequest,
  type AppendResult,
  encodeEpochRecord,
  EPOCH_ORIGIN,
  type EpochRecord,
  firstEpoch,
  type Log,
  type LogEntry,
  type Registry,
  systemClock,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import { InSyncSet } from './in-sync-set.js';

/** One subject of a log, with the check that it makes. */
class Subject {
  #entries: { seq: number; origin: string; data: Uint8Array; storedAtMs: number }[] = [];
  readonly log = {
    lastOf: () => Promise.resolve(this.#entries.at(-1)),
    append: (
      { origin, data, expectedLastSeqOfOrigin }: AppendRequest,
      settled: (r: AppendResult) => void,
    ) => {
      const last = this.#entries.at(-1)?.seq ?? 0;
      if (expectedLastSeqOfOrigin !== last)
        return settled({ type: 'refused', error: new Error('late') as never, lastSeqOfOrigin: last });
      const seq = Math.max(last, this.othersUpTo) + 1;
      this.#entries.push({ seq, origin, data, storedAtMs: 0 });
      settled({ type: 'stored', seq, duplicate: false });
    },
  } as unknown as Log;
  /** Entries of other subjects. */
  othersUpTo = 0;

  member(id: string): InSyncSet {
    const parts = { id, instance: 'x', log: this.log, clock: systemClock(), logger: silentLogger };
    return new InSyncSet({ ...parts, registry: {} as Registry });
  }
}

function epochEntry(seq: number, record: Partial<EpochRecord>): LogEntry {
  const whole: EpochRecord = {
    ...{ epoch: 1, primary: 'b', instance: 'i', after: 0, by: 'b', why: 'failover', atMs: 1, leaves: [] },
    ...record,
  };
  return { seq, origin: EPOCH_ORIGIN, data: encodeEpochRecord(whole), storedAtMs: 0 };
}

const join = (set: InSyncSet, id: string) => set.propose((members) => [...members, id], `${id} is caught up`);

describe('the in-sync set', () => {
  it('counts everyone who ever joined, until it is removed', async () => {
    const subject = new Subject();
    const [a, b] = [subject.member('a'), subject.member('b')];
    await join(a, 'a');
    await join(b, 'b');
    await a.propose((members) => members.filter((id) => id !== 'b'), 'b is silent');
    expect(a).toMatchObject({ members: ['a'], known: ['a', 'b'] });
    expect(await a.remove('b', 'b is gone')).toBe(true);
    expect(a).toMatchObject({ members: ['a'], known: ['a'] });
    // Nobody would be left.
    expect(await a.remove('a', 'a is gone')).toBe(false);
    expect(a).toMatchObject({ members: ['a'], known: ['a'] });
  });

  it('tells a member that it was removed, which then does not put itself back', async () => {
    const subject = new Subject();
    const [a, b] = [subject.member('a'), subject.member('b')];
    await join(a, 'a');
    await join(b, 'b');
    await a.remove('b', 'b is gone');
    expect(b.removal).toBeUndefined();
    expect(await join(b, 'b')).toBe(false);
    expect(b.removal).toMatchObject({ by: 'a', why: 'b is gone' });
    await a.load();
    expect(a.known).toEqual(['a']);
    // A new start does.
    const again = subject.member('b');
    await again.load();
    expect(again.removal).toBeUndefined();
    expect(await join(again, 'b')).toBe(true);
    await a.load();
    expect(a).toMatchObject({ members: ['a', 'b'], known: ['a', 'b'] });
  });

  it('I6: is left by whom a valid epoch names, until the next change', async () => {
    const subject = new Subject();
    const [a, b] = [subject.member('a'), subject.member('b')];
    for (const id of ['a', 'b', 'c']) await join(a, id);
    const again = subject.member('c');
    for (const set of [b, again]) {
      set.begin([firstEpoch('a')]);
      await set.load();
    }
    const recordSeq = b.seq;
    b.observeEpoch(epochEntry(7, { epoch: 2, leaves: ['c'] }));
    expect(b, 'not the next one').toMatchObject({ members: ['a', 'b', 'c'], seq: recordSeq });
    b.observeEpoch(epochEntry(8, { epoch: 1, leaves: ['a'] }));
    b.observeEpoch(epochEntry(9, { epoch: 1, leaves: ['b'] }));
    expect(b).toMatchObject({ members: ['b', 'c'], known: ['a', 'b', 'c'], seq: 8 });
    b.observeEpoch(epochEntry(10, { epoch: 2, leaves: ['b', 'c'] }));
    expect(b.members, 'somebody has to be').toEqual(['b', 'c']);
    // From the database, behind the same entries.
    const first = firstEpoch('a');
    const began = { by: 'b', why: 'failover', atMs: 1, leaves: ['a'] } as const;
    again.begin([first, { number: 1, primary: 'b', instance: 'i', seq: 8, began }]);
    expect(again.members).toEqual(['b', 'c']);
    subject.othersUpTo = 10;
    // It was read ahead of the feed: what stands before it has no effect any more.
    expect(await b.propose((members) => [...members, 'a'], 'a is caught up')).toBe(true);
    await again.load();
    again.observeEpoch(epochEntry(10, { epoch: 2, leaves: ['c'] }));
    for (const set of [b, again]) expect(set).toMatchObject({ members: ['a', 'b', 'c'], seq: 11 });
  });
});
