import type { ApplyStep, GroupOutcome, PreparedGroup } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put, remove } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import { messageOf, type Member } from './member.js';
import { batchOf } from './preparing.js';

/** Groups that come out of the log, on every replica and on the one that wrote them. */
export function describeGroups(kit: KitOf): void {
  describe('groups in the log', () => {
    itKeepsOutcomes(kit);

    it.each([true, false])(
      'I1, I2: an own one that was rolled back comes back as it is elsewhere (row versions: %s)',
      async (rowVersions) => {
        const members = await kit().members(['a', 'b', 'c'], { rowVersions });
        const [a, b] = members;
        if (a === undefined || b === undefined) throw new Error('no members');
        await a.commitInPlace(
          await a.prepare([
            a.request(put('people', 1n, 'one@example.com', 'from a'), put('items', 1n, 'x', null, null)),
            a.request(put('people', 2n, 'two@example.com', 'from a')),
          ]),
        );
        await b.receive();
        const group = await b.prepare([
          b.request(remove('people', 1n), put('people', 3n, 'one@example.com', 'from b')),
          b.request(put('people', 2n, 'second@example.com', 'from b'), put('items', 2n, 'x', 0.5, null)),
        ]);
        // Another origin's group gets into the log before it.
        await a.commitInPlace(await a.prepare([a.request(put('items', 1n, 'changed', null, null))]));
        b.log.append('b', messageOf(group).data);
        await group.rollback();
        for (const member of members) await member.receive();
        await expectSame(members);
        const { lastCounter, publishedCounter, vector } = b.store.state();
        expect([lastCounter, publishedCounter, vector['b']]).toEqual([2, 2, 2]);
        const entries = b.log.entries.length;
        await b.publish();
        expect(b.log.entries).toHaveLength(entries);
        await b.crash();
        await b.commitInPlace(await b.prepare([b.request(put('items', 3n, 'next', null, null))]));
        expect(b.store.state().lastCounter).toBe(3);
        for (const member of members) await member.receive();
        await expectSame(members);
      },
    );

    it('I2: rejected transactions count as applied and change nothing', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      const group = await a.prepare([
        a.request(put('items', 1n, 'committed', null, null)),
        a.request(put('items', 1n, 'rejected', null, null), remove('items', 9n)),
        a.request(put('items', 2n, 'rejected', null, null)),
      ]);
      const { firstCounter, lastCounter } = messageOf(group);
      await group.rollback();
      const seq = a.store.state().position.seq + 1;
      const rejected = [firstCounter + 1, lastCounter];
      for (const member of [a, b]) {
        await member.apply([stepOf(group, seq, rejected)], seq);
        await member.crash();
        expect(member.store.state()).toMatchObject({ vector: { a: lastCounter }, position: { seq } });
        expect(member.store.hasUnsealed()).toBe(false);
        expect(await member.rows('items')).toEqual([[1n, 'committed', null, null]]);
        const outcome = await member.store.outcomeOf({ origin: 'a', counter: lastCounter });
        expect(outcome).toEqual({ origin: 'a', firstCounter, lastCounter, token: 'token', seq, rejected });
      }
      expect(a.store.state()).toMatchObject({ lastCounter, publishedCounter: lastCounter });
      const next = await a.prepare([a.request(put('items', 2n, 'next', null, null))]);
      expect(messageOf(next).firstCounter).toBe(lastCounter + 1);
      await next.rollback();
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

function itKeepsOutcomes(kit: KitOf): void {
  it('their outcomes are found by transaction and by place, also after reopening', async () => {
    const [a, b] = await kit().members(['a', 'b']);
    if (a === undefined || b === undefined) throw new Error('no members');
    const seqs: number[] = [];
    for (const [id, member] of [a, b, a].entries()) {
      await member.receive();
      const requests = [1n, 2n].map((column) => member.request(put('pairs', `${id}`, column, 'x')));
      seqs.push(await member.commitInPlace(await member.prepare(requests, { token: `token${id}` })));
    }
    await b.receive();
    // What is no synchronous group has no outcome.
    await a.write(put('items', 1n, 'x', null, null));
    await a.publish();
    await b.receive();
    for (const member of [a, b]) {
      await member.reopen();
      const all = await member.store.outcomes(0, 10);
      expect(all.map(({ origin, token, seq }) => [origin, token, seq])).toEqual([
        ['a', 'token0', seqs[0]],
        ['b', 'token1', seqs[1]],
        ['a', 'token2', seqs[2]],
      ]);
      expect(await member.store.outcomes(seqs[1] ?? 0, 1)).toEqual([all[1]]);
      expect(await member.store.outcomes((seqs[2] ?? 0) + 1, 10)).toEqual([]);
      for (const outcome of all) await expectFound(member, outcome);
      const { lastCounter: counter } = a.store.state();
      expect(await member.store.outcomeOf({ origin: 'a', counter })).toBeUndefined();
      expect(await member.store.outcomeOf({ origin: 'stranger', counter: 1 })).toBeUndefined();
    }
  });
}

function stepOf(group: PreparedGroup, seq: number, rejected: readonly number[]): ApplyStep {
  return { type: 'transactions', batch: batchOf(group), skip: 0, rejected, seq };
}

async function expectFound(member: Member, outcome: GroupOutcome): Promise<void> {
  const { origin, firstCounter, lastCounter } = outcome;
  for (const counter of [firstCounter, lastCounter])
    expect(await member.store.outcomeOf({ origin, counter })).toEqual(outcome);
}

/** Rows, vectors, positions and outcomes. */
async function expectSame(members: readonly Member[]): Promise<void> {
  expect(await differences(members)).toEqual([]);
  const [first, ...others] = members;
  if (first === undefined) return;
  const { vector, position } = first.store.state();
  const outcomes = await first.store.outcomes(0, 100);
  expect(outcomes.length).toBeGreaterThan(0);
  for (const { store } of others) {
    expect(store.state()).toMatchObject({ vector, position });
    expect(await store.outcomes(0, 100)).toEqual(outcomes);
  }
}
