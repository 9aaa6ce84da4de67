import { decodeBatches, type PreparedGroup, type TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import { put, remove } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import { GENERATION, messageOf } from './member.js';
import { bigRow } from './writing.js';

/** `bigRow` needs some more than 3000. */
const THREE_BIG_ROWS = 11_000;
const READ_SEQ = 8;

export function describePreparing(kit: KitOf): void {
  describe('preparing a group', () => {
    itCommits(kit);
    itRollsBack(kit);
    itIsLimited(kit);

    it('is one batch with a sync section, of what every write changed', async () => {
      const a = await kit().member();
      await a.apply([], 7);
      await a.write(put('pairs', 'x', 1n, 'before'));
      const { lastCounter: known } = a.store.state();
      // Its place is known, and need not be in the database yet.
      a.store.markPublished(known, { generation: GENERATION, seq: READ_SEQ });
      const requests = [
        a.request(put('items', 1n, 'one', null, null), put('items', 2n, 'two', 0.5, null)),
        a.request(),
        a.request(put('items', 1n, 'changed', null, null), remove('items', 2n)),
      ];
      const group = await a.prepare(requests, { token: 'attempt1', reply: 'reply.to.a', certified: false });
      const { firstCounter, lastCounter } = messageOf(group);
      const batch = batchOf(group);
      expect([firstCounter, lastCounter]).toEqual([known + 1, known + 2]);
      expect(batch).toMatchObject({ origin: 'a', firstCounter });
      expect(batch.sync).toEqual({
        token: 'attempt1',
        readSeq: READ_SEQ,
        reply: 'reply.to.a',
        claims: [[], []],
      });
      expect(batch.transactions.map(({ changes }) => changes.map(({ op, row }) => [op, row[1]]))).toEqual([
        [
          ['insert', 'one'],
          ['insert', 'two'],
        ],
        [
          ['update', 'changed'],
          ['delete', 'two'],
        ],
      ]);
      expect(group.writes).toMatchObject([
        { type: 'ran', id: { origin: 'a', counter: firstCounter }, claims: [] },
        { type: 'ran', claims: [] },
        { type: 'ran', id: { origin: 'a', counter: lastCounter }, claims: [] },
      ]);
      expect(group.writes[1]).not.toHaveProperty('id');
      await group.rollback();
    });

    it('I1: a failing write is undone alone', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const group = await a.prepare([
        a.request(put('items', 1n, 'first', null, null)),
        a.request(put('items', 2n, 'undone', null, null), { op: 'throw' }),
        a.request(put('items', 2n, 'undone', null, null), put('amounts', 1n, -5n)),
        a.request(put('items', 3n, 'last', null, null), remove('items', 1n)),
      ]);
      expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'rejected', 'rejected', 'ran']);
      expect(batchOf(group).transactions).toHaveLength(2);
      await a.commitInPlace(group);
      await b.receive();
      expect(await a.rows('items')).toEqual([[3n, 'last', null, null]]);
      expect(await differences([a, b])).toEqual([]);
    });

    it('without requests is one transaction without changes', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const counter = a.store.state().lastCounter + 1;
      const noOp = await a.prepare([]);
      expect(noOp.writes).toEqual([]);
      expect(messageOf(noOp)).toMatchObject({ firstCounter: counter, lastCounter: counter });
      expect(batchOf(noOp)).toMatchObject({
        sync: { claims: [[]] },
        transactions: [{ counter, changes: [] }],
      });
      await a.commitInPlace(noOp);
      await b.receive();
      for (const { store } of [a, b]) expect(store.state().vector['a']).toBe(counter);
      expect(await differences([a, b])).toEqual([]);
    });

    it('has no message when nothing that is replicated changed', async () => {
      const a = await kit().member();
      const before = a.store.state();
      const group = await a.prepare([a.request(), a.request({ op: 'throw' })]);
      expect(group.message).toBeUndefined();
      expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'rejected']);
      await new Promise<void>((committed) => void group.commit(undefined, committed));
      expect(a.store.state()).toEqual(before);
      expect(await a.store.outcomes(0, 10)).toEqual([]);
    });
  });
}

function itCommits(kit: KitOf): void {
  it('I1: until the commit nobody sees it; then rows, counters, position and outcome are there at once', async () => {
    const a = await kit().member();
    const before = a.store.state();
    const checksums = await a.checksums();
    const group = await a.prepare([a.request(put('items', 1n, 'one', null, null))]);
    const { firstCounter: counter, data } = messageOf(group);
    expect(a.store.state()).toEqual(before);
    expect(a.store.hasUnsealed()).toBe(false);
    expect(await a.rows('items')).toEqual([]);
    expect(await a.checksums()).toEqual(checksums);
    expect(await a.store.sealed({ counter: before.lastCounter, part: 0 }, 1_000_000)).toEqual([]);
    expect(await a.store.outcomeOf({ origin: 'a', counter })).toBeUndefined();
    const seq = await a.commitInPlace(group);
    await group.rollback();
    const after = {
      position: { generation: GENERATION, seq },
      vector: { a: counter },
      lastCounter: counter,
      publishedCounter: counter,
    };
    const outcome = {
      origin: 'a',
      firstCounter: counter,
      lastCounter: counter,
      token: 'token',
      seq,
      rejected: [],
    };
    expect(a.store.state()).toMatchObject(after);
    await a.crash();
    expect(a.store.state()).toMatchObject(after);
    expect(await a.rows('items')).toEqual([[1n, 'one', null, null]]);
    // I3: it can be sent again until it is pruned.
    const [sealed] = await a.store.sealed({ counter: before.lastCounter, part: 0 }, 1_000_000);
    expect(Buffer.from(sealed?.data ?? [])).toEqual(Buffer.from(data));
    expect(await a.store.outcomeOf({ origin: 'a', counter })).toEqual(outcome);
    expect(await a.write(put('items', 2n, 'two', null, null))).toMatchObject({
      id: { counter: counter + 1 },
    });
  });

  it('I1: a group with a message is not committed without a place in the log', async () => {
    const a = await kit().member();
    const before = a.store.state();
    const group = await a.prepare([a.request(put('items', 1n, 'x', null, null))]);
    let committed = 0;
    expect(await group.commit(undefined, () => committed++).then(() => 'committed', codeOf)).toBe('INTERNAL');
    expect(committed).toBe(0);
    await group.rollback();
    expect(a.store.state()).toEqual(before);
    expect((await a.write(put('items', 2n, 'x', null, null))).type).toBe('committed');
    expect(await a.rows('items')).toHaveLength(1);
  });
}

function itRollsBack(kit: KitOf): void {
  it('I1, I2: rolled back it leaves nothing, and its counters are given again', async () => {
    const [a, b] = await kit().members(['a', 'b']);
    if (a === undefined || b === undefined) throw new Error('no members');
    await a.write(put('people', 1n, 'kept@example.com', 'kept'));
    await a.sync();
    const before = a.store.state();
    const group = await a.prepare([
      a.request(put('people', 2n, 'two@example.com', 'two'), remove('people', 1n)),
      a.request(put('items', 1n, 'x', null, null)),
    ]);
    await group.rollback();
    await group.rollback();
    expect(await group.commit({ generation: GENERATION, seq: 99 }).then(() => 'committed', codeOf)).toBe(
      'INTERNAL',
    );
    expect(a.store.state()).toEqual(before);
    expect(a.store.hasUnsealed()).toBe(false);
    expect(await a.store.seal()).toBe(0);
    expect(await a.store.sealed({ counter: before.lastCounter, part: 0 }, 1_000_000)).toEqual([]);
    expect(await a.rows('people')).toEqual([[1n, 'kept@example.com', 'kept']]);
    expect(await a.store.outcomes(0, 10)).toEqual([]);
    const again = await a.prepare([a.request(put('people', 2n, 'two@example.com', 'again'))]);
    expect(messageOf(again).firstCounter).toBe(before.lastCounter + 1);
    await a.commitInPlace(again);
    await b.receive();
    expect(await b.rows('people')).toHaveLength(2);
    expect(await differences([a, b])).toEqual([]);
  });

  it.each(['crash', 'reopen'] as const)(
    'I1, I2: a %s while it is prepared leaves nothing of it',
    async (how) => {
      const a = await kit().member();
      const before = a.store.state();
      const group = await a.prepare([a.request(put('items', 1n, 'gone', null, null))]);
      const { firstCounter } = messageOf(group);
      await a[how]();
      expect(a.store.state()).toEqual(before);
      expect(await a.rows('items')).toEqual([]);
      expect(a.store.hasUnsealed()).toBe(false);
      expect(await a.store.outcomes(0, 10)).toEqual([]);
      const again = await a.prepare([a.request(put('items', 1n, 'there', null, null))]);
      expect(messageOf(again).firstCounter).toBe(firstCounter);
      await a.commitInPlace(again);
      expect(await a.rows('items')).toEqual([[1n, 'there', null, null]]);
    },
  );
}

function itIsLimited(kit: KitOf): void {
  it('I11: what does not fit into the message is left for the next group', async () => {
    const [a, b] = await kit().members(['a', 'b']);
    if (a === undefined || b === undefined) throw new Error('no members');
    const requests = [1n, 2n, 3n, 4n].map((id) => a.request(bigRow(id)));
    const small = a.request(put('items', 5n, 'would fit', null, null));
    const group = await a.prepare([...requests, small], { maxBytes: THREE_BIG_ROWS });
    expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'ran', 'ran', 'left-out', 'left-out']);
    expect(messageOf(group).data.length).toBeLessThanOrEqual(THREE_BIG_ROWS);
    await a.commitInPlace(group);
    expect(await a.rows('items')).toHaveLength(3);
    await a.commitInPlace(await a.prepare([...requests.slice(3), small]));
    await b.receive();
    expect(await b.rows('items')).toHaveLength(5);
    expect(await differences([a, b])).toEqual([]);
  });

  it('I11: a write that never fits is rejected, and the others are not', async () => {
    const a = await kit().member();
    const tooBig = a.request(...[1n, 2n, 3n, 4n].map(bigRow));
    const requests = [a.request(), tooBig, a.request(put('items', 5n, 'fits', null, null))];
    const group = await a.prepare(requests, { maxBytes: THREE_BIG_ROWS });
    expect(group.writes).toMatchObject([
      { type: 'ran' },
      { type: 'rejected', error: { code: 'MESSAGE_TOO_LARGE' } },
      { type: 'ran', id: { counter: messageOf(group).firstCounter } },
    ]);
    expect(batchOf(group).transactions).toHaveLength(1);
    await a.commitInPlace(group);
    expect(await a.rows('items')).toEqual([[5n, 'fits', null, null]]);
  });
}

/** Only for stores that capture writes by other programs. */
export function describeForeignWritersOfGroups(kit: KitOf): void {
  describe('preparing a group beside other programs', () => {
    it('I3: waits until what they wrote is sealed', async () => {
      const a = await kit().member();
      await a.writeOutside(put('items', 1n, 'outside', null, null));
      const options = { token: 'token', maxBytes: 1_000_000, certified: true };
      const request = a.request(put('items', 2n, 'inside', null, null));
      expect(await a.store.prepare([request], options)).toBeUndefined();
      expect(await a.rows('items')).toHaveLength(1);
      await a.publish();
      await a.receive();
      const group = await a.prepare([request]);
      expect(messageOf(group).firstCounter).toBe(a.store.state().lastCounter + 1);
      await a.commitInPlace(group);
      expect(await a.rows('items')).toHaveLength(2);
    });

    it('I2, I3: without requests leaves alone what they wrote, which is numbered after it', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const counter = a.store.state().lastCounter + 1;
      await a.writeOutside(put('items', 1n, 'outside', null, null));
      const noOp = await a.prepare([]);
      expect(batchOf(noOp)).toMatchObject({ firstCounter: counter, transactions: [{ changes: [] }] });
      await a.commitInPlace(noOp);
      expect(a.store.hasUnsealed()).toBe(true);
      await a.publish();
      expect(a.store.state().lastCounter).toBe(counter + 1);
      await b.receive();
      expect(await b.rows('items')).toHaveLength(1);
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

export function describeLibraryOnly(kit: KitOf): void {
  describe('a replica that takes writes of the library only', () => {
    it('captures them, and refuses those of other programs', async () => {
      const [a, b] = await kit().members(['a', 'b'], { rowVersions: false });
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.change({ writes: 'library' });
      const outcome = await a.write(put('items', 1n, 'written', null, null));
      expect(outcome).toMatchObject({ type: 'committed', id: { origin: 'a' } });
      await a.publish();
      await a.receive();
      await a.commitInPlace(await a.prepare([a.request(put('items', 2n, 'prepared', null, null))]));
      if (a.store.capabilities.refusesForeignWriters) {
        await expect(a.writeOutside(put('items', 3n, 'no', null, null))).rejects.toThrow(
          /through the replica/,
        );
        await expect(a.writeOutside(remove('items', 1n))).rejects.toThrow(/through the replica/);
      }
      expect(a.store.hasUnsealed()).toBe(false);
      await b.receive();
      expect(await b.rows('items')).toHaveLength(2);
      await b.write(put('items', 1n, 'from b', null, null));
      await b.publish();
      await a.receive();
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

export function batchOf(group: PreparedGroup): TransactionBatch {
  const [batch, ...more] = decodeBatches(messageOf(group).data);
  if (batch?.kind !== 'transactions' || more.length > 0) throw new Error('a group is one batch');
  return batch;
}
