import { decodeBatches, type TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import type { KitOf } from './kit.js';
import type { Member } from './member.js';
import { ALL, enter, primaryOf, rowsOf } from './rewind.js';

/** What a power loss took from the database, and the log had too late. */
export function describeFenced(kit: KitOf): void {
  /** The same changes under other numbers, as if this database had given them once. */
  async function sentAs(a: Member, ...counters: readonly number[]): Promise<TransactionBatch> {
    const [message] = await a.store.sealed({ counter: a.store.state().publishedCounter - 1, part: 0 }, 1);
    const [batch] = decodeBatches(message?.data ?? new Uint8Array());
    const [known] = batch?.kind === 'transactions' ? batch.transactions : [];
    if (batch?.kind !== 'transactions' || known === undefined) throw new Error('no transaction');
    const transactions = counters.map((counter) => ({ ...known, counter }));
    return { ...batch, firstCounter: counters[0] ?? 0, transactions };
  }

  describe('own transactions that count for nobody', () => {
    it('I2, I3: are kept when the database has not got them, once', async () => {
      const a = await primaryOf(kit);
      await a.write(put('items', 1n, 'in the log', null, null));
      await a.sync();
      const { lastCounter } = a.store.state();
      const batch = await sentAs(a, lastCounter, lastCounter + 1, lastCounter + 2);
      await enter([a], { primary: 'b' });
      const before = await rowsOf(a);
      const seq = a.store.state().position.seq + 1;
      for (const again of [0, 1]) await a.apply([{ type: 'fenced', batch, seq }], seq + again);
      await a.crash();
      const [first, second] = await a.store.rescues(ALL);
      expect(first).toMatchObject({ counter: lastCounter + 1, reason: 'rescued', state: 'kept', changes: 1 });
      expect(second).toMatchObject({ counter: lastCounter + 2, tables: ['items'] });
      expect(await a.store.rescueChanges(second?.id ?? 0, { after: 0, limit: 2 })).toMatchObject([
        { after: [1n, 'in the log', null, null] },
      ]);
      expect(await rowsOf(a)).toEqual(before);
      expect(a.store.state()).toMatchObject({
        ...{ rescued: 2, lastCounter: lastCounter + 2, spentCounter: lastCounter + 2 },
        ...{ publishedCounter: lastCounter, vector: { a: lastCounter } },
      });
    });

    it('I2: keep the replica from taking writes in an epoch that does not know of their numbers', async () => {
      const a = await primaryOf(kit);
      const { lastCounter } = a.store.state();
      const batch = await sentAs(a, lastCounter + 1);
      await enter([a], { primary: 'b' });
      const seq = a.store.state().position.seq + 1;
      a.log.append('a', new Uint8Array());
      await a.apply([{ type: 'fenced', batch, seq }], seq);
      await enter([a], { primary: 'a', after: lastCounter, instance: 'mine' }, a);
      expect(a.store.state().writes).toBe('refuse');
      await enter([a], { primary: 'a', after: lastCounter + 1, instance: 'mine' }, a);
      await a.write(put('items', 1n, 'behind it', null, null));
      expect(a.store.state()).toMatchObject({ rescued: 1, vector: { a: lastCounter + 2 } });
    });
  });
}
