import { AntiphonError, decodeBatches, type ApplyStep } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { forgedBatch, forgedStep } from './forged-batch.js';
import { differences, type KitOf } from './kit.js';
import type { Member } from './member.js';
import { bigRow } from './writing.js';

export function describeApplying(kit: KitOf): void {
  describe('applying', () => {
    it('I2: of an overlapping batch only what is new', async () => {
      const member = await kit().member();
      const step = (counter: number, name: string): ApplyStep =>
        forgedStep(
          {
            origin: 'x',
            counter,
            changes: [{ op: 'insert', table: 'items', row: [BigInt(counter), name, null, null] }],
          },
          counter,
        );
      await member.apply([step(1, 'one'), step(2, 'two')], 2);
      const [two, three] = [forgedBatch(forgedOf(2, 'again')), forgedBatch(forgedOf(3, 'three'))];
      const both = { ...two, transactions: [...two.transactions, ...three.transactions] };
      await member.apply([{ type: 'transactions', batch: both, skip: 1, seq: 3 }], 3);
      expect(await member.rows('items')).toEqual([
        [1n, 'one', null, null],
        [2n, 'two', null, null],
        [3n, 'three', null, null],
      ]);
      expect(member.store.state()).toMatchObject({ vector: { x: 3 }, position: { seq: 3 } });
    });

    it('is not captured again, and an empty apply moves the position', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(put('items', 1n, 'x', null, null), put('people', 1n, 'x@example.com', 'x'));
      await a.publish();
      const { lastCounter } = b.store.state();
      await b.receive();
      expect(b.store.hasUnsealed()).toBe(false);
      expect(await b.store.seal()).toBe(0);
      expect(b.store.state().lastCounter).toBe(lastCounter);
      const { seq } = b.store.state().position;
      await b.apply([], seq + 10);
      await b.crash();
      expect(b.store.state().position.seq).toBe(seq + 10);
    });

    it('I1: rows, vector and position are committed together', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      for (let id = 1n; id <= 20n; id++) await a.write(put('items', id, 'x', null, null));
      await a.publish();
      while (b.store.state().position.seq < a.log.entries.length) {
        await b.receive(1);
        await b.crash();
        const { vector, position } = b.store.state();
        const inLog = a.log.entries.slice(0, position.seq).flatMap(({ data }) => decodeBatches(data));
        const rows = inLog.reduce(
          (count, batch) => count + (batch.kind === 'part' ? 0 : batch.transactions.length),
          0,
        );
        expect(vector['a']).toBe(rows);
        expect(await b.rows('items')).toHaveLength(rows);
      }
      expect(await differences([a, b])).toEqual([]);
    });

    it('gives turns away during a long one', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(
        ...Array.from({ length: 20_000 }, (_, id) => put('items', BigInt(id), 'x', id / 3, null)),
      );
      await a.publish();
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      await b.receive();
      clearInterval(timer);
      expect(turns).toBeGreaterThan(0);
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

/** What a database does not take. */
export function describeRefusals(kit: KitOf): void {
  describe('what is refused', () => {
    it('I1: a transaction that the database refuses leaves nothing, those before it stay', async () => {
      const member = await kit().member();
      const before = {
        origin: 'x',
        counter: 1,
        changes: [{ op: 'insert', table: 'items', row: [1n, 'good', null, null] }],
      } as const;
      const refused = {
        origin: 'x',
        counter: 2,
        changes: [
          { op: 'insert', table: 'items', row: [2n, 'half', null, null] },
          { op: 'insert', table: 'amounts', row: [1n, -1n] },
        ],
      } as const;
      const outcome = await member.apply([forgedStep(before, 1), forgedStep(refused, 2)], 2);
      expect(outcome.refused).toMatchObject({ step: 1, error: { code: expect.any(String) as unknown } });
      expect(await member.rows('items')).toEqual([[1n, 'good', null, null]]);
      expect(await member.rows('amounts')).toEqual([]);
      expect(member.store.state()).toMatchObject({ vector: { x: 1 }, position: { seq: 1 } });
      await quarantineOne(member, 2, outcome.refused?.error);
      expect(member.store.state()).toMatchObject({ vector: { x: 1 }, position: { seq: 2 }, quarantined: 1 });
      await member.crash();
      expect(member.store.state()).toMatchObject({ vector: { x: 1 }, position: { seq: 2 }, quarantined: 1 });
    });

    it('I15: what was quarantined can be looked at, and is forgotten only when somebody says so', async () => {
      const member = await kit().member();
      const error = new AntiphonError('UNKNOWN_ORIGIN', 'Replica x is not a member.');
      for (const seq of [1, 2, 3]) await quarantineOne(member, seq, error);
      const all = await member.store.quarantine({ afterId: 0, limit: 10 });
      expect(all).toMatchObject(
        [1, 2, 3].map((seq) => ({ seq, storedAtMs: 5000 + seq, origin: 'x', code: error.code, bytes: 3 })),
      );
      const [first, second] = all;
      if (first === undefined || second === undefined) throw new Error('nothing was quarantined');
      expect(second.id).toBeGreaterThan(first.id);
      expect(await member.store.quarantine({ afterId: first.id, limit: 1 })).toEqual([second]);
      expect(await member.store.quarantine({ afterId: 0, seq: 2, limit: 10 })).toEqual([second]);
      expect(await member.store.quarantinedData(first.id)).toEqual(new Uint8Array([1, 2, 3]));

      const release = { type: 'release', seq: 3 } as const;
      await member.apply(
        [
          { ...release, id: first.id, arrived: true },
          { ...release, id: second.id, arrived: false },
        ],
        3,
      );
      await member.apply([{ ...release, id: second.id, arrived: false }], 3);
      const left = { quarantined: 1, quarantinedBytes: 3, discarded: 1 };
      expect(member.store.state()).toMatchObject(left);
      await member.crash();
      expect(member.store.state()).toMatchObject(left);
      expect(await member.store.quarantinedData(first.id)).toBeUndefined();
    });

    it('I15: a table that is not replicated is refused, not guessed', async () => {
      const member = await kit().member();
      const stranger = {
        origin: 'x',
        counter: 1,
        changes: [{ op: 'insert', table: 'strangers', row: [1n] }],
      } as const;
      const outcome = await member.apply([forgedStep(stranger, 1)], 1);
      expect(outcome.refused?.step).toBe(0);
      expect(member.store.state().vector['x'] ?? 0).toBe(0);
    });
  });
}

/** Parts of big transactions, and everything that may come in between. */
export function describeParts(kit: KitOf): void {
  describe('parts', () => {
    it('I1, I2: come in between other origins, with a crash at any of them, and are applied together', async () => {
      const [a, b, c] = await kit().members(['a', 'b', 'c']);
      if (a === undefined || b === undefined || c === undefined) throw new Error('no members');
      await a.write(...Array.from({ length: 250 }, (_, id) => bigRow(BigInt(id))));
      await a.write(put('items', 0n, 'after the big one', null, null));
      const big = await collect(a);
      await b.write(put('pairs', 'b', 1n, 'between'), put('items', 1n, 'overwritten later', null, null));
      await b.publish();
      for (const [index, data] of big.entries()) {
        c.log.append('a', data);
        // A repetition is a duplicate; the parts before are kept.
        if (index === 1) c.log.append('a', big[0] ?? data);
        await c.receive();
        const complete = index >= big.length - 2;
        expect((await c.rows('items')).length > 10).toBe(complete);
        await c.crash();
      }
      expect(c.store.state().vector).toMatchObject({
        a: a.store.state().lastCounter,
        b: b.store.state().lastCounter,
      });
      await a.receive();
      await b.receive();
      expect(await differences([a, b, c])).toEqual([]);
    });

    it('I2: of a transaction that comes whole after all are forgotten', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(...Array.from({ length: 250 }, (_, id) => bigRow(BigInt(id))));
      const [firstPart = new Uint8Array()] = await collect(a);
      const { lastCounter: counter } = a.store.state();
      b.log.append('a', firstPart);
      await b.receive();
      expect(b.store.state().partial['a']).toMatchObject({ counter, time: expect.any(Number) as number });
      const seq = b.store.state().position.seq + 1;
      const row = [7n, 'whole', null, null] as const;
      await b.apply(
        [
          forgedStep(
            { origin: 'a', counter, changes: [{ op: 'insert', table: 'items', row: [...row] }] },
            seq,
          ),
        ],
        seq,
      );
      expect(await b.rows('items')).toEqual([row]);
      expect(b.store.state().vector['a']).toBe(counter);
      const awaited = b.store.state().partial['a'];
      expect(awaited === undefined || awaited.counter <= counter).toBe(true);
    });
  });
}

function forgedOf(counter: number, name: string): Parameters<typeof forgedBatch>[0] {
  return {
    origin: 'x',
    counter,
    changes: [{ op: 'insert', table: 'items', row: [BigInt(counter), name, null, null] }],
  };
}

async function quarantineOne(member: Member, seq: number, error: AntiphonError | undefined): Promise<void> {
  if (error === undefined) throw new Error('there was no error');
  const step = { type: 'quarantine', seq, storedAtMs: 5000 + seq, origin: 'x', error } as const;
  await member.apply([{ ...step, data: new Uint8Array([1, 2, 3]) }], seq);
}

/** Everything that a member has sealed since the beginning of the test, without publishing it. */
async function collect(member: Member): Promise<readonly Uint8Array[]> {
  const { publishedCounter } = member.store.state();
  const messages = await member.store.sealed({ counter: publishedCounter, part: 0 }, 100_000_000);
  return messages.map(({ data }) => data);
}
