import { decodeBatches } from '@antiphon/core';
import { expect, it } from 'vitest';
import type { KitOf } from './kit.js';
import { BIG_ROWS, bigRow, PENDING, primaryOf, rowsOf } from './rewind.js';

export function describePassedParts(kit: KitOf): void {
  it('I3, I4: comes back from the log whole where the position is amid its parts', async () => {
    const a = await primaryOf(kit);
    await a.write(...Array.from({ length: BIG_ROWS }, (_, id) => bigRow(id, 1)));
    const tail = await rowsOf(a);
    const { lastCounter } = a.store.state();
    const sealed = await a.store.sealed({ counter: lastCounter - 1, part: 0 }, 10_000_000);
    const parts = sealed.flatMap(({ data }) => decodeBatches(data)).filter((batch) => batch.kind === 'part');
    expect(parts.length).toBeGreaterThan(2);
    const [first, ...rest] = parts;
    if (first === undefined) throw new Error('it is not in parts');
    // As an own message it was not kept: the database has the whole.
    const passed = { counter: lastCounter, time: first.time, bytes: first.body.length };
    expect(await a.store.rewind({ ...PENDING, passed })).toMatchObject({ transactions: 1 });
    await a.crash();
    expect(a.store.state()).toMatchObject({ rescued: 1, partial: { a: passed } });
    for (const batch of rest) {
      const seq = a.log.append('a', new Uint8Array());
      await a.apply([{ type: 'part', batch, seq }], seq);
    }
    expect(await rowsOf(a)).toEqual(tail);
    expect(a.store.state()).toMatchObject({ rescued: 0, partial: {}, vector: { a: lastCounter } });
  });
}
