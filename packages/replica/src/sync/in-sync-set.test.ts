import { type AppendRequest, type AppendResult, type Log, type Registry, systemClock } from '@antiphon/core';
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
      this.#entries.push({ seq: last + 1, origin, data, storedAtMs: 0 });
      settled({ type: 'stored', seq: last + 1, duplicate: false });
    },
  } as unknown as Log;

  member(id: string): InSyncSet {
    const parts = { id, instance: 'x', log: this.log, clock: systemClock(), logger: silentLogger };
    return new InSyncSet({ ...parts, registry: {} as Registry });
  }
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
});
