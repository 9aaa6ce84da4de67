import { claimOf, type Claim, type Value, type WriteRequest } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put, remove, type RowOperation } from '../store-harness.js';
import type { KitOf } from './kit.js';
import type { Member } from './member.js';
import { batchOf } from './preparing.js';

/** What the transactions of every store have besides their own ways to read and write. */
interface Locking {
  lock(table: string, key: unknown): void;
}

export function describeClaiming(kit: KitOf): void {
  describe('what a certified group claims', () => {
    itLocks(kit);

    it('every row that it writes, the same on every replica', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const row = claimOf('row', 'items', [1n], 'exclusive');
      expect(await claimsOf(a, put('items', 1n, 'from a', null, null))).toEqual([row]);
      expect(await claimsOf(b, put('items', 1n, 'from b', 2.5, null))).toEqual([row]);
      expect(await claimsOf(b, put('items', 2n, 'from b', null, null))).not.toContain(row);
      await a.write(put('items', 1n, 'there', null, null));
      expect(await claimsOf(a, put('items', 1n, 'changed', null, null))).toEqual([row]);
      expect(await claimsOf(a, put('items', 1n, 'changed', null, null), remove('items', 1n))).toEqual([row]);
      expect(await claimsOf(a, remove('items', 1n))).toEqual([row]);
    });

    it('a row with a key of several columns, and both when it gets another one', async () => {
      const a = await kit().member();
      await a.write(put('pairs', 'x', 1n, 'before'));
      const claims = await claimsOf(a, remove('pairs', 'x', 1n), put('pairs', 'x', 2n, 'before'));
      expect(claims).toEqual([
        claimOf('row', 'pairs', ['x', 1n], 'exclusive'),
        claimOf('row', 'pairs', ['x', 2n], 'exclusive'),
      ]);
    });

    it('every new unique value, whatever row holds it', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const one = await claimsOf(a, put('people', 1n, 'same@example.com', 'a'));
      const two = await claimsOf(b, put('people', 2n, 'same@example.com', 'b'));
      const other = await claimsOf(b, put('people', 3n, 'other@example.com', 'b'));
      expect([one, two, other].map(({ length }) => length)).toEqual([2, 2, 2]);
      expect(shared(one, two)).toHaveLength(1);
      expect(shared(one, other)).toEqual([]);
      // NULL is equal to nothing.
      expect(await claimsOf(a, put('people', 4n, null, 'a'))).toHaveLength(1);
      await a.write(put('people', 1n, 'same@example.com', 'a'));
      expect(await claimsOf(a, put('people', 1n, 'same@example.com', 'renamed'))).toHaveLength(1);
      const changed = await claimsOf(a, put('people', 1n, 'other@example.com', 'a'));
      expect(shared(changed, other)).toHaveLength(1);
    });

    it('by name, in the order of the message', async () => {
      const a = await kit().member();
      const group = await a.prepare([
        a.request(put('items', 1n, 'x', null, null), put('pairs', 'x', 1n, 'x')),
        a.request(),
        a.request(put('people', 1n, 'one@example.com', 'x')),
      ]);
      await group.rollback();
      const named = group.writes.map((write) => (write.type === 'ran' ? write.claims : []));
      expect(named).toMatchObject([
        [
          { table: 'items', key: [1n] },
          { table: 'pairs', key: ['x', 1n] },
        ],
        [],
        [
          { table: 'people', key: [1n] },
          { table: 'people', key: ['one@example.com'] },
        ],
      ]);
      const inMessage = batchOf(group).sync?.claims;
      expect(inMessage).toEqual([named[0], named[2]].map((claims) => claims?.map(({ claim }) => claim)));
    });
  });
}

function itLocks(kit: KitOf): void {
  it('a row that it locked, together with others that only lock it', async () => {
    const a = await kit().member();
    const locked = claimOf('row', 'items', [7n], 'shared');
    const written = claimOf('row', 'items', [1n], 'exclusive');
    const change = put('items', 1n, 'x', null, null);
    for (const key of [7n, [7n]]) {
      const group = await a.prepare([locking(a.request(change), 'items', key)]);
      await group.rollback();
      expect(sorted(batchOf(group).sync?.claims[0])).toEqual(sorted([written, locked]));
    }
    const nothing = await a.prepare([locking(a.request(), 'items', 7n)]);
    expect(nothing.message).toBeUndefined();
    await nothing.rollback();
  });

  it('nothing of a lock that says no row: it rejects its own write', async () => {
    const a = await kit().member();
    const change = put('items', 1n, 'x', null, null);
    const group = await a.prepare([
      locking(a.request(change), 'strangers', 1n),
      locking(a.request(change), 'pairs', 'x'),
      locking(a.request(change), 'items', null),
      a.request(change),
    ]);
    await group.rollback();
    expect(group.writes).toMatchObject([
      { type: 'rejected', error: { code: 'UNKNOWN_TABLE' } },
      { type: 'rejected', error: { code: 'BAD_OPTION' } },
      { type: 'rejected', error: { code: 'BAD_OPTION' } },
      { type: 'ran' },
    ]);
    expect(batchOf(group).transactions).toHaveLength(1);
  });
}

/** Of one write, which is not committed. */
async function claimsOf(member: Member, ...operations: readonly RowOperation[]): Promise<readonly Claim[]> {
  const group = await member.prepare([member.request(...operations)]);
  await group.rollback();
  return batchOf(group).sync?.claims[0] ?? [];
}

function locking(
  request: WriteRequest<unknown>,
  table: string,
  key: Value | readonly Value[],
): WriteRequest<unknown> {
  return {
    run: (tx) => {
      if (!canLock(tx)) throw new TypeError('a transaction must have `lock`');
      tx.lock(table, key);
      return request.run(tx);
    },
  };
}

function canLock(tx: unknown): tx is Locking {
  return typeof tx === 'object' && tx !== null && 'lock' in tx;
}

function shared(some: readonly Claim[], others: readonly Claim[]): readonly Claim[] {
  return some.filter((claim) => others.includes(claim));
}

function sorted(claims: readonly Claim[] = []): readonly Claim[] {
  return [...claims].sort((a, b) => a - b);
}
