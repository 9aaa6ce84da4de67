import { type ApplyStep, decodeBatches, type EpochRecord, newestEpoch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { forgedBatch } from './forged-batch.js';
import type { KitOf } from './kit.js';

const PRIMARY_REPLICA = { rowVersions: false, primary: 'a', asPrimary: 'capture', writes: 'refuse' } as const;

function epochStep(seq: number, record: Partial<EpochRecord>): ApplyStep {
  const whole: EpochRecord = {
    ...{ epoch: 1, primary: 'b', instance: 'i1', after: 0, by: 'b', atMs: 1, leaves: [] },
    why: 'failover',
    ...record,
  };
  return { type: 'epoch', record: whole, seq };
}

/** Who may write, as the log says. */
export function describeEpochs(kit: KitOf): void {
  describe('epochs', () => {
    it('I1, I7: begin with the position, and are known after a crash', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      expect(newestEpoch(member.store.state())).toMatchObject({ number: 0, primary: 'a' });
      const { seq } = member.store.state().position;
      const second = { epoch: 2, primary: 'c', instance: 'i2', leaves: ['b'] };
      await member.apply([epochStep(seq + 1, { after: 3 })], seq + 1);
      await member.apply([epochStep(seq + 2, second)], seq + 2);
      const before = member.store.state().epochs;
      await member.crash();
      const began = { by: 'b', why: 'failover', atMs: 1, leaves: [] };
      expect(member.store.state().epochs).toEqual(before);
      const state = member.store.state();
      expect(state.position.seq).toBe(seq + 2);
      expect(state.epochs).toEqual([
        { number: 0, primary: 'a', instance: undefined, seq: 0 },
        { number: 1, primary: 'b', instance: 'i1', seq: seq + 1, began, voided: { from: 1, to: 3 } },
        { number: 2, primary: 'c', instance: 'i2', seq: seq + 2, began: { ...began, leaves: ['b'] } },
      ]);
    });

    it('I15: one that does not follow is refused, and nothing of it is left', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      const { seq } = member.store.state().position;
      const { refused } = await member.apply(
        [epochStep(seq + 1, {}), epochStep(seq + 2, { epoch: 7 })],
        seq + 2,
      );
      expect(refused).toMatchObject({ step: 1 });
      await member.crash();
      const state = member.store.state();
      expect(state.position.seq).toBe(seq + 1);
      expect(newestEpoch(state).number).toBe(1);
    });

    it('I7, I15: none follows where the primary is one for good', async () => {
      const { asPrimary: _, ...options } = PRIMARY_REPLICA;
      const member = await kit().member(options);
      const { seq } = member.store.state().position;
      const { refused } = await member.apply([epochStep(seq + 1, {})], seq + 1);
      expect(refused).toMatchObject({ step: 0 });
      expect(newestEpoch(member.store.state())).toMatchObject({ number: 0, primary: 'a' });
    });

    it('I2: spend the counters of the new primary, and end what is in parts', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      const { seq } = member.store.state().position;
      const whole = forgedBatch({ origin: 'x', counter: 1, changes: [] });
      const { transactions: _, ...header } = whole;
      const part = { ...header, kind: 'part', offset: 0, body: new Uint8Array(9), last: false } as const;
      await member.apply([{ type: 'part', batch: part, seq: seq + 1 }], seq + 1);
      expect(member.store.state().partial).toHaveProperty('x');
      await member.apply([epochStep(seq + 2, { after: 5 })], seq + 2);
      await member.crash();
      expect(member.store.state()).toMatchObject({ vector: { b: 5 }, partial: {} });
    });

    it('I3: leave the counters of what this primary has sealed and the log has not', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      await member.write(put('items', 1n, 'tail', null, null));
      const before = member.store.state();
      const own = before.vector['a'] ?? 0;
      const seq = before.position.seq + 1;
      await member.apply(
        [epochStep(seq, { primary: 'a', after: before.publishedCounter, why: 'restart' })],
        seq,
      );
      expect(member.store.state()).toMatchObject({
        vector: { a: own },
        lastCounter: own,
        publishedCounter: before.publishedCounter,
      });
      expect(before.publishedCounter).toBeLessThan(own);
      const outcome = await member.write(put('items', 2n, 'next', null, null));
      expect(outcome).toMatchObject({ id: { counter: own + 1 } });
    });
  });
  describeEpochRoles(kit);
}

/** What the primary may do that others may not. */
function describeEpochRoles(kit: KitOf): void {
  describe('epochs and roles', () => {
    it('I1, I9: others may write to the database of the primary only, from the very commit on', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      const { harness } = kit();
      const row = put('items', 1n, 'outside', null, null);
      const { seq } = member.store.state().position;
      await member.apply([epochStep(seq + 1, { primary: 'b' })], seq + 1);
      await expect(harness.writeOutside(member.store, [row])).rejects.toThrow();
      await expect(member.write(row)).resolves.toMatchObject({ type: 'rejected' });
      await member.crash();
      await expect(harness.writeOutside(member.store, [row])).rejects.toThrow();
      const again = epochStep(seq + 2, { epoch: 2, primary: 'a', after: member.store.state().lastCounter });
      await member.apply([again], seq + 2);
      await harness.writeOutside(member.store, [row]);
      expect(await member.store.seal()).toBe(1);
      await member.crash();
      await member.write(put('items', 2n, 'inside', null, null));
      expect(await member.rows('items')).toHaveLength(2);
    });

    it('I7: what is sealed has the number of the epoch', async () => {
      const member = await kit().member(PRIMARY_REPLICA);
      const { seq } = member.store.state().position;
      await member.apply([epochStep(seq + 1, { primary: 'a', after: 9 })], seq + 1);
      await member.write(put('items', 1n, 'new', null, null));
      expect(member.store.state()).toMatchObject({ lastCounter: 10, publishedCounter: 9 });
      await member.publish();
      const sealed = decodeBatches(member.log.entries.at(-1)?.data ?? new Uint8Array());
      expect(sealed).toMatchObject([{ epoch: 1, firstCounter: 10 }]);
    });
  });
}
