import { decodeBatches, summarize } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put, remove } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import { codeOf } from '../error-code.js';

const PICTURE_BYTES = 3000;
const BIG_ROWS = 250;

export function describeWriting(kit: KitOf): void {
  describe('writing', () => {
    it('I1: one failing write of a group is undone alone', async () => {
      const member = await kit().member();
      const { harness } = kit();
      const before = member.store.state().lastCounter;
      const outcomes = await member.store.write([
        harness.request([put('items', 1n, 'first', null, null)]),
        harness.request([put('items', 2n, 'undone', null, null), { op: 'throw' }]),
        harness.request([put('amounts', 1n, -5n)]),
        harness.request([put('items', 3n, 'last', null, null), remove('items', 1n)]),
      ]);
      expect(outcomes.map(({ type }) => type)).toEqual(['committed', 'rejected', 'rejected', 'committed']);
      expect(outcomes.map((outcome) => (outcome.type === 'committed' ? outcome.id : undefined))).toEqual([
        { origin: 'a', counter: before + 1 },
        undefined,
        undefined,
        { origin: 'a', counter: before + 2 },
      ]);
      expect(await member.rows('items')).toEqual([[3n, 'last', null, null]]);
      expect(await member.rows('amounts')).toEqual([]);
    });

    it('gives no id to a write that changes nothing', async () => {
      const member = await kit().member();
      await member.write(put('items', 1n, 'same', 2, null));
      const { lastCounter } = member.store.state();
      expect(await member.write()).toEqual(expect.not.objectContaining({ id: expect.anything() as unknown }));
      expect(await member.write(put('items', 1n, 'same', 2, null), remove('items', 99n))).not.toHaveProperty(
        'id',
      );
      expect(member.store.state().lastCounter).toBe(lastCounter);
    });

    it('I2: counters go on without a gap after closing and after a crash', async () => {
      const member = await kit().member();
      const counters: (number | undefined)[] = [];
      const write = async (id: bigint): Promise<void> => {
        const outcome = await member.write(put('items', id, 'x', null, null));
        counters.push(outcome.type === 'committed' ? outcome.id?.counter : undefined);
      };
      await write(1n);
      await member.reopen();
      await write(2n);
      await member.crash();
      await write(3n);
      const [first = 0] = counters;
      expect(counters).toEqual([first, first + 1, first + 2]);
      expect(await member.rows('items')).toHaveLength(3);
    });

    it('captures both keys when a row gets another one', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      await a?.write(put('pairs', 'x', 1n, 'before'));
      await a?.write(remove('pairs', 'x', 1n), put('pairs', 'x', 2n, 'before'));
      await a?.publish();
      await b?.receive();
      expect(await b?.rows('pairs')).toEqual([['x', 2n, 'before']]);
    });

    it('cuts a big transaction into parts that fit into the log', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const { lastCounter } = a.store.state();
      await a.write(...Array.from({ length: BIG_ROWS }, (_, id) => bigRow(BigInt(id))));
      const sealed = await a.store.sealed({ counter: lastCounter, part: 0 }, 10_000_000);
      const [first] = sealed;
      // The place after the first part of the next transaction lies inside of it.
      const rest = await a.store.sealed({ counter: lastCounter + 1, part: 0 }, 10_000_000);
      expect(first).toMatchObject({
        firstCounter: lastCounter + 1,
        lastCounter: lastCounter + 1,
        part: 0,
        last: false,
      });
      expect(rest.at(-1)).toMatchObject({ lastCounter: lastCounter + 1, part: rest.length, last: true });
      for (const { data } of sealed) expect(data.length).toBeLessThan(400_000);
      expect(summarize(rest.at(-1)?.data ?? new Uint8Array())[0]).toMatchObject({ kind: 'part', last: true });
      await a.publish();
      await b.receive();
      expect(await b.rows('items')).toHaveLength(BIG_ROWS);
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

/** What waits to be published. */
export function describeOutbox(kit: KitOf): void {
  describe('the outbox', () => {
    it('I3: sealed messages stay until they are pruned, also over a crash', async () => {
      const member = await kit().member();
      const { lastCounter: start } = member.store.state();
      for (let id = 1n; id <= 5n; id++) await member.write(put('items', id, 'x', null, null));
      const after = { counter: start, part: 0 };
      const before = await member.store.sealed(after, 1_000_000);
      await member.crash();
      const messages = await member.store.sealed(after, 1_000_000);
      expect(messages.map(({ data }) => Buffer.from(data))).toEqual(
        before.map(({ data }) => Buffer.from(data)),
      );
      expect(countersOf(messages)).toEqual([1, 2, 3, 4, 5].map((n) => start + n));
      expect(await member.store.sealed(after, 1)).toHaveLength(1);
      expect(countersOf(await member.store.sealed({ counter: start + 3, part: 0 }, 1_000_000))).toEqual([
        start + 4,
        start + 5,
      ]);
      await expect(member.store.prune(start + 5)).rejects.toThrow();
      member.store.markPublished(start + 3);
      await member.store.prune(start + 3);
      expect(countersOf(await member.store.sealed({ counter: 0, part: 0 }, 1_000_000))).toEqual([
        start + 4,
        start + 5,
      ]);
      expect(member.store.state().publishedCounter).toBe(start + 3);
    });

    it('I3: what is marked as published is kept at close and with the next commit', async () => {
      const member = await kit().member();
      await member.write(put('items', 1n, 'x', null, null));
      await member.write(put('items', 2n, 'x', null, null));
      const { lastCounter } = member.store.state();
      member.store.markPublished(lastCounter - 1);
      await member.reopen();
      expect(member.store.state().publishedCounter).toBe(lastCounter - 1);
      member.store.markPublished(lastCounter);
      await member.write(put('items', 3n, 'x', null, null));
      await member.crash();
      expect(member.store.state().publishedCounter).toBe(lastCounter);
    });
  });
}

export function bigRow(id: bigint): ReturnType<typeof put> {
  return put('items', id, 'big', Number(id) / 2, new Uint8Array(PICTURE_BYTES).fill(Number(id) % 256));
}

/** Writes by other programs; only for stores that capture them. */
export function describeForeignWriters(kit: KitOf): void {
  describe('other programs', () => {
    it('I3: what they commit is sealed, before what is written afterwards', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.writeOutside(put('items', 1n, 'outside', null, null));
      expect(a.store.hasUnsealed()).toBe(true);
      const outcome = await a.write(put('items', 1n, 'inside', null, null));
      expect(a.store.hasUnsealed()).toBe(false);
      await a.publish();
      const batches = a.log.entries
        .filter(({ origin }) => origin === 'a')
        .flatMap(({ data }) => decodeBatches(data));
      const names = batches.flatMap((batch) =>
        batch.kind === 'part'
          ? []
          : batch.transactions.flatMap(({ changes }) => changes.map(({ row }) => row[1])),
      );
      expect(names).toEqual(['outside', 'inside']);
      expect(outcome).toMatchObject({ type: 'committed', id: { counter: a.store.state().lastCounter } });
      await b.receive();
      expect(await b.rows('items')).toEqual([[1n, 'inside', null, null]]);
    });

    it('I3: what they commit while no replica runs is sealed later', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.store.close();
      await a.writeOutside(put('items', 1n, 'one', null, null));
      await a.writeOutside(put('items', 2n, 'two', null, null), remove('items', 1n));
      await a.reopen();
      expect(await a.store.seal()).toBeGreaterThanOrEqual(1);
      expect(await a.store.seal()).toBe(0);
      await a.publish();
      await b.receive();
      expect(await b.rows('items')).toEqual([[2n, 'two', null, null]]);
    });

    it('I5: what they had committed is sealed before anything is applied', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(put('items', 1n, 'from a', null, null));
      await a.publish();
      const { counter: seenOfA } = { counter: b.store.state().vector['a'] ?? 0 };
      await b.writeOutside(put('items', 1n, 'from b, without having seen a', null, null));
      await b.receive();
      await b.publish();
      const last = b.log.entries.filter(({ origin }) => origin === 'b').at(-1);
      const [batch] = decodeBatches(last?.data ?? new Uint8Array());
      expect(batch?.context['a'] ?? 0).toBe(seenOfA);
      expect(b.store.state().vector['a']).toBe(seenOfA + 1);
    });
  });
}

/** Only for stores that refuse writes by other programs. */
export function describeRefusing(kit: KitOf): void {
  describe('a replica that takes no writes', () => {
    it('refuses them all with the name of the primary, and still applies', async () => {
      const [a, b] = await kit().members(['a', 'b'], { rowVersions: false });
      if (a === undefined || b === undefined) throw new Error('no members');
      await b.change({ writes: 'refuse', primary: 'the-primary' });
      await a.write(put('items', 1n, 'from a', null, null));
      await a.publish();
      await b.receive();
      expect(await b.rows('items')).toHaveLength(1);
      if (b.store.capabilities.refusesForeignWriters) {
        await expect(b.writeOutside(put('items', 2n, 'no', null, null))).rejects.toThrow(/the-primary/);
        await expect(b.writeOutside(remove('items', 1n))).rejects.toThrow(/the-primary/);
      }
      const refused = await b
        .write(put('items', 2n, 'no', null, null))
        .catch((error: unknown) => ({ type: 'rejected', error }));
      expect(refused.type).toBe('rejected');
      expect(codeOf('error' in refused ? refused.error : undefined)).toBe('NOT_WRITABLE');
      expect(await b.rows('items')).toHaveLength(1);
      await b.change({ writes: 'capture' });
      expect((await b.write(put('items', 2n, 'yes', null, null))).type).toBe('committed');
    });
  });
}

function countersOf(
  messages: readonly { readonly firstCounter: number; readonly lastCounter: number }[],
): readonly number[] {
  return messages.flatMap(({ firstCounter, lastCounter }) =>
    Array.from({ length: lastCounter - firstCounter + 1 }, (_, index) => firstCounter + index),
  );
}
