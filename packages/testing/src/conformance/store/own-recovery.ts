import { covers, decodeBatches, type ApplyStep, type TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { forgedBatch } from './forged-batch.js';
import type { KitOf } from './kit.js';

/** A database that is older than what it published. */
export function describeOwnRecovery(kit: KitOf): void {
  describe('recovery of own transactions', () => {
    itCanBeInterrupted(kit);
    itGivesUniqueValuesToTheLater(kit);

    it.each([true, false])(
      'I2, I3: counters go on after it, and what is written meanwhile stays (row versions: %s)',
      async (rowVersions) => {
        const [a, b] = await kit().members(['a', 'b'], { rowVersions });
        if (a === undefined || b === undefined) throw new Error('no members');
        const known = a.store.state().lastCounter;
        // Two transactions that the log has of `a`, and its restored database has not.
        const past = [forgedPast(known + 1, 1n, 'past'), forgedPast(known + 2, 2n, 'past')];
        await a.write();
        const time = past.at(-1)?.time ?? 0;
        await a.store.resumeFrom(known + 2, time);
        expect(a.store.state()).toMatchObject({ lastCounter: known + 2 });
        expect(a.store.state().vector['a'] ?? 0).toBe(known);
        const outcome = await a.write(put('items', 1n, 'meanwhile', null, null));
        expect(outcome).toMatchObject({ id: { counter: known + 3 } });
        const seq = a.store.state().position.seq;
        await a.apply(
          past.map((batch, index): ApplyStep => ({
            type: 'transactions',
            batch,
            skip: 0,
            seq: seq + 1 + index,
          })),
          seq + 2,
        );
        expect(a.store.state().vector['a']).toBe(known + 3);
        const expected = [
          [1n, 'meanwhile', null, null],
          [2n, 'past', null, null],
        ];
        expect(await a.rows('items')).toEqual(expected);
        await a.crash();
        expect(a.store.state().vector['a']).toBe(known + 3);
        const own = (await a.store.sealed({ counter: known + 2, part: 0 }, 1_000_000)).flatMap(({ data }) =>
          decodeBatches(data),
        );
        const start = b.store.state().position.seq;
        const steps = [...past, ...own].flatMap((batch, index): ApplyStep[] =>
          batch.kind === 'part' ? [] : [{ type: 'transactions', batch, skip: 0, seq: start + 1 + index }],
        );
        await b.apply(steps, start + steps.length);
        expect(await b.rows('items')).toEqual(expected);
      },
    );

    it('resuming behind what it has is nothing but a later clock', async () => {
      const a = await kit().member();
      await a.write(put('items', 1n, 'x', null, null));
      const { lastCounter, vector } = a.store.state();
      await a.store.resumeFrom(lastCounter - 1, 0);
      expect(a.store.state()).toMatchObject({ lastCounter, vector });
    });
  });
}

function itCanBeInterrupted(kit: KitOf): void {
  it.each([
    { rowVersions: true, atOnce: true },
    { rowVersions: true, atOnce: false },
    { rowVersions: false, atOnce: true },
    { rowVersions: false, atOnce: false },
  ])(
    'I2: can be interrupted, and more of it found then (row versions: $rowVersions, at once: $atOnce)',
    async ({ rowVersions, atOnce }) => {
      const [a] = await kit().members(['a'], { rowVersions });
      if (a === undefined) throw new Error('no member');
      const known = a.store.state().lastCounter;
      const past = [forgedPast(known + 1, 1n, 'past'), forgedPast(known + 2, 2n, 'past')];
      await a.store.resumeFrom(known + 2, past.at(-1)?.time ?? 0);
      await a.write(put('items', 1n, 'meanwhile', null, null));
      const sealed = await a.store.sealed({ counter: known + 2, part: 0 }, 1_000_000);
      const meanwhile = sealed.flatMap(({ data }) => wholeBatches(data));
      await a.crash();
      // What it had sent by then was followed by another one, which its database has lost.
      const latest = forgedPast(known + 4, 1n, 'latest', (meanwhile[0]?.time ?? 0) + 1);
      await a.store.resumeFrom(known + 4, latest.time);
      expect(a.store.state()).toMatchObject({ lastCounter: known + 4 });
      const { seq } = a.store.state().position;
      const steps = [...past, ...meanwhile, latest].map((batch, index): ApplyStep => ({
        type: 'transactions',
        batch,
        skip: 0,
        seq: seq + 1 + index,
      }));
      if (atOnce) await a.apply(steps, seq + steps.length);
      for (const step of steps) {
        if (covers(a.store.state().vector, { origin: 'a', counter: counterOfStep(step) })) continue;
        await a.apply([step], step.seq);
      }
      expect(a.store.state().vector['a']).toBe(known + 4);
      expect(await a.rows('items')).toEqual([
        [1n, 'latest', null, null],
        [2n, 'past', null, null],
      ]);
      expect(await a.write(put('items', 3n, 'next', null, null))).toMatchObject({
        id: { counter: known + 5 },
      });
      expect(a.store.state().vector['a']).toBe(known + 5);
    },
  );
}

function itGivesUniqueValuesToTheLater(kit: KitOf): void {
  it('I2: later writes give way to it where both want one unique value, and are put back on top of it', async () => {
    const [a] = await kit().members(['a'], { rowVersions: false });
    if (a === undefined) throw new Error('no member');
    const known = a.store.state().lastCounter;
    const past = [forgedPerson(known + 1, 'x'), forgedPerson(known + 2, 'y')];
    await a.store.resumeFrom(known + 2, past.at(-1)?.time ?? 0);
    // Valid after the second one, and not after the first; and in the end not what each of them
    // was.
    await a.write(put('people', 2n, 'x', 'meanwhile'));
    await a.write(put('people', 2n, 'z', 'meanwhile'));
    await a.write(put('people', 3n, 'x', 'meanwhile'));
    const { seq } = a.store.state().position;
    for (const [index, batch] of past.entries()) {
      const at = seq + 1 + index;
      expect(await a.apply([{ type: 'transactions', batch, skip: 0, seq: at }], at)).not.toHaveProperty(
        'refused',
      );
    }
    expect(a.store.state().vector['a']).toBe(known + 5);
    expect(await a.rows('people')).toEqual([
      [1n, 'y', 'past'],
      [2n, 'z', 'meanwhile'],
      [3n, 'x', 'meanwhile'],
    ]);
  });

  it('I4: a row gives way to a later one that its writer gave the same unique value, without it', async () => {
    const [, b] = await kit().members(['a', 'b'], { rowVersions: false });
    if (b === undefined) throw new Error('no member');
    const known = b.store.state().vector['a'] ?? 0;
    const past = forgedPerson(known + 1, 'x');
    const later = forgedBatch({
      origin: 'a',
      counter: known + 2,
      changes: [{ op: 'insert', table: 'people', row: [2n, 'x', 'later'] }],
    });
    const { seq } = b.store.state().position;
    const steps = [past, later].map((batch, index): ApplyStep => ({
      type: 'transactions',
      batch,
      skip: 0,
      seq: seq + 1 + index,
    }));
    const outcome = await b.apply(steps, seq + 2);
    expect(outcome).toMatchObject({ transactions: 2, conflicts: 1 });
    expect(outcome).not.toHaveProperty('refused');
    expect(await b.rows('people')).toEqual([[2n, 'x', 'later']]);
  });
}

function forgedPast(
  counter: number,
  id: bigint,
  name: string,
  time?: number,
): ReturnType<typeof forgedBatch> {
  return forgedBatch({
    origin: 'a',
    counter,
    ...(time === undefined ? {} : { time }),
    changes: [{ op: 'insert', table: 'items', row: [id, name, null, null] }],
  });
}

function forgedPerson(counter: number, email: string): ReturnType<typeof forgedBatch> {
  return forgedBatch({
    origin: 'a',
    counter,
    changes: [{ op: 'insert', table: 'people', row: [1n, email, 'past'] }],
  });
}

function wholeBatches(data: Uint8Array): readonly TransactionBatch[] {
  return decodeBatches(data).flatMap((batch) => (batch.kind === 'part' ? [] : [batch]));
}

function counterOfStep(step: ApplyStep): number {
  return step.type === 'transactions' || step.type === 'part' ? step.batch.firstCounter : 0;
}
