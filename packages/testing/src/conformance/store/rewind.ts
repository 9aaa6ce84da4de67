import {
  type ApplyStep,
  decodeBatches,
  type EpochRecord,
  type RescueChange,
  type RescueWrite,
  type Row,
  type Store,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { put, remove, type RowOperation } from '../store-harness.js';
import type { KitOf } from './kit.js';
import type { Member } from './member.js';

const PRIMARY = { rowVersions: false, primary: 'a', asPrimary: 'capture', writes: 'refuse' } as const;
const TABLES = ['items', 'pairs', 'people', 'amounts'];
const RESCUED = { reason: 'rescued', spent: 0 } as const;
export const PENDING = { reason: 'pending', spent: 0 } as const;
export const ALL = { afterId: 0, limit: 1000 } as const;
/** More than one message holds. */
export const BIG_ROWS = 250;
const BIG_BYTES = 8192;

/** The next entry of the log is a record, and these members, who have all before it, apply it. */
export async function enter(
  members: readonly Member[],
  record: Partial<EpochRecord>,
  elected?: Member,
): Promise<void> {
  const [log] = members.map((member) => member.log);
  const seq = log?.append('_epoch', new Uint8Array()) ?? 0;
  for (const member of members) {
    const { position, epochs } = member.store.state();
    expect(position.seq).toBe(seq - 1);
    const whole: EpochRecord = {
      ...{ epoch: epochs.length, primary: 'b', instance: 'i1', after: 0, by: 'b', atMs: 1, leaves: [] },
      why: 'failover',
      ...record,
    };
    const step: ApplyStep = { type: 'epoch', record: whole, seq, elected: member === elected };
    expect(await member.apply([step], seq)).not.toHaveProperty('refused');
  }
}

export async function rowsOf(member: Member): Promise<Readonly<Record<string, readonly Row[]>>> {
  const rows: Record<string, readonly Row[]> = {};
  for (const table of TABLES) rows[table] = await member.rows(table);
  return rows;
}

export function bigRow(id: number, fill: number): RowOperation {
  return put('items', BigInt(id), 'big', null, new Uint8Array(BIG_BYTES).fill(fill));
}

async function countersOf(store: Store): Promise<readonly number[]> {
  return (await store.rescues(ALL)).map(({ counter }) => counter);
}

/** With rows that the log has. */
export async function primaryOf(kit: KitOf): Promise<Member> {
  const member = await kit().member(PRIMARY);
  await member.write(
    ...[put('items', 1n, 'one', 1.5, new Uint8Array([1])), put('items', 2n, 'two', null, null)],
    ...[put('people', 1n, 'x', 'Xaver'), put('people', 2n, 'y', 'Yvonne'), put('people', 3n, null, 'Zoe')],
    ...[put('pairs', 'a', 1n, 'first'), put('pairs', 'a', 2n, 'second'), put('amounts', 1n, 10n)],
  );
  await member.sync();
  return member;
}

/** What is undone, and kept, of a primary whose tail the log does not have. */
export function describeRewind(kit: KitOf): void {
  describeUndoing(kit);
  describeMessages(kit);
  describeForeignTail(kit);
  describeLedger(kit);
  describeRescued(kit);
  describePending(kit);
  describeWaiting(kit);
}

function describeUndoing(kit: KitOf): void {
  describe('rewinding', () => {
    it('I3, I5, I10: undoes what the log does not have, and keeps it', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      const { lastCounter: base, position } = a.store.state();
      await a.write(put('items', 1n, 'changed', 2, null), put('items', 3n, 'three', null, null));
      await a.write(remove('items', 2n), put('items', 1n, 'changed again', 3, null));
      await a.write(
        put('pairs', 'a', 1n, 'moved'),
        remove('pairs', 'a', 2n),
        put('pairs', 'b', 2n, 'second'),
      );
      await a.write(remove('pairs', 'b', 2n), put('amounts', 1n, 11n));
      const report = await a.store.rewind({ reason: 'rescued', spent: base + 2 });
      expect(report).toEqual({ transactions: 4, rows: 7, suspicious: [] });
      for (const again of ['at once', 'after a crash']) {
        expect(await rowsOf(a), again).toEqual(before);
        expect(a.store.state()).toMatchObject({
          ...{ vector: { a: base }, lastCounter: base + 4, publishedCounter: base, spentCounter: base + 4 },
          ...{ rescued: 4, position, outboxMessages: 1 },
        });
        expect(await countersOf(a.store)).toEqual([1, 2, 3, 4].map((n) => base + n));
        expect(await a.store.sealed({ counter: base, part: 0 }, 1_000_000)).toEqual([]);
        expect(await a.write(put('items', 9n, 'no', null, null))).toMatchObject({ type: 'rejected' });
        if (again === 'at once') await a.crash();
      }
    });

    it('unique values that rows have exchanged, and taken over from deleted ones', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      await a.write(
        ...[
          put('people', 1n, 'z', 'Xaver'),
          put('people', 2n, 'x', 'Yvonne'),
          put('people', 1n, 'y', 'Xaver'),
        ],
      );
      await a.write(remove('people', 2n), put('people', 9n, 'x', 'new'));
      await a.write(put('people', 2n, 'w', 'other'), put('people', 3n, 'z', 'Zoe'));
      expect(await a.store.rewind(RESCUED)).toMatchObject({ transactions: 3, rows: 4, suspicious: [] });
      expect(await rowsOf(a)).toEqual(before);
    });

    it('twice is like once, and with nothing to undo it takes no writes either', async () => {
      const a = await primaryOf(kit);
      await a.write(put('items', 1n, 'tail', null, null));
      await a.store.rewind(PENDING);
      const state = a.store.state();
      const nothing = { transactions: 0, rows: 0, suspicious: [] };
      expect(await a.store.rewind(PENDING)).toEqual(nothing);
      expect(a.store.state()).toEqual(state);
      const other = await primaryOf(kit);
      expect(await other.store.rewind({ reason: 'rescued', spent: 100 })).toEqual(nothing);
      expect(other.store.state()).toMatchObject({ lastCounter: 100, spentCounter: 100, rescued: 0 });
      expect(await other.write(put('items', 9n, 'no', null, null))).toMatchObject({ type: 'rejected' });
      await expect(other.writeOutside(put('items', 9n, 'no', null, null))).rejects.toThrow();
    });
  });
}

function describeMessages(kit: KitOf): void {
  describe('rewinding messages', () => {
    it('I3: leaves what is published, also in a message with others', async () => {
      const a = await primaryOf(kit);
      const known = a.store.state().lastCounter;
      const requests = [3n, 4n, 5n].map((id) => a.request(put('items', id, 'grouped', null, null)));
      await a.store.write(requests);
      expect(await a.store.sealed({ counter: known, part: 0 }, 1_000_000)).toHaveLength(1);
      a.store.markPublished(known + 1);
      expect(await a.store.rewind(RESCUED)).toMatchObject({ transactions: 2, rows: 2 });
      expect((await a.rows('items')).map(([id]) => id)).toEqual([1n, 2n, 3n]);
      await a.crash();
      expect(a.store.state()).toMatchObject({ vector: { a: known + 1 }, publishedCounter: known + 1 });
      const left = await a.store.sealed({ counter: known, part: 0 }, 1_000_000);
      expect(left).toMatchObject([{ firstCounter: known + 1, lastCounter: known + 1 }]);
      const batches = left.flatMap(({ data }) => decodeBatches(data));
      expect(batches).toMatchObject([{ transactions: [{ counter: known + 1 }] }]);
      expect(a.store.state().outboxBytes).toBe(
        (await a.store.sealed({ counter: 0, part: 0 }, 1_000_000)).reduce(
          (sum, { data }) => sum + data.length,
          0,
        ),
      );
    });

    it('I1: a transaction in parts', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      await a.write(...Array.from({ length: BIG_ROWS }, (_, id) => bigRow(id, 1)));
      await a.write(bigRow(3, 2));
      const { lastCounter } = a.store.state();
      expect(
        (await a.store.sealed({ counter: lastCounter - 2, part: 0 }, 10_000_000)).length,
      ).toBeGreaterThan(2);
      expect(await a.store.rewind(RESCUED)).toMatchObject({
        transactions: 2,
        rows: BIG_ROWS,
        suspicious: [],
      });
      expect(await rowsOf(a)).toEqual(before);
      const [big] = await a.store.rescues(ALL);
      expect(big).toMatchObject({ counter: lastCounter - 1, changes: BIG_ROWS, tables: ['items'] });
      const shown = await a.store.rescueChanges(big?.id ?? 0, { after: BIG_ROWS - 1, limit: 10 });
      expect(shown).toMatchObject([{ op: 'insert', key: [BigInt(BIG_ROWS - 1)] }]);
      const id = big?.id ?? 0;
      const { data, bytes } = await a.store.rescueData(id, { part: 1, offset: 0, maxBytes: 10_000_000 });
      expect(data.length).toBe(bytes);
      expect(decodeBatches(data)).toMatchObject([{ kind: 'part', firstCounter: lastCounter - 1 }]);
      const piece = await a.store.rescueData(id, { part: 1, offset: 100, maxBytes: 50 });
      expect(piece).toEqual({ data: data.slice(100, 150), bytes });
      expect((await a.store.rescueData(id, { part: 99, offset: 0, maxBytes: 50 })).bytes).toBe(0);
    });

    it('I1: a crash in the middle leaves all of the tail, or nothing', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      await a.write(...Array.from({ length: BIG_ROWS }, (_, id) => bigRow(id, 1)));
      const [tail, { lastCounter, vector }] = [await rowsOf(a), a.store.state()];
      const { store } = a;
      const rewinding = store.rewind(RESCUED);
      await a.crash();
      await rewinding;
      const isDone = a.store.state().rescued > 0;
      expect(await rowsOf(a)).toEqual(isDone ? before : tail);
      if (!isDone) expect(a.store.state()).toMatchObject({ lastCounter, vector });
      await a.store.rewind(RESCUED);
      expect(await rowsOf(a)).toEqual(before);
      expect(await countersOf(a.store)).toEqual([lastCounter]);
    });
  });
}

function describeForeignTail(kit: KitOf): void {
  describe('rewinding what other programs wrote', () => {
    it('I3: is undone as well, under numbers that come after all that are spent', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      const { lastCounter } = a.store.state();
      await a.writeOutside(put('items', 1n, 'outside', null, null));
      await a.writeOutside(remove('people', 1n), put('people', 2n, 'x', 'Yvonne'));
      const { transactions } = await a.store.rewind({ reason: 'rescued', spent: lastCounter + 10 });
      expect(await rowsOf(a)).toEqual(before);
      const counters = await countersOf(a.store);
      expect(counters).toEqual(Array.from({ length: transactions }, (_, n) => lastCounter + 11 + n));
      expect(a.store.state()).toMatchObject({ spentCounter: counters.at(-1), vector: { a: lastCounter } });
    });

    it('is numbered only when that is allowed', async () => {
      const a = await primaryOf(kit);
      await a.write(put('items', 1n, 'tail', null, null));
      await a.writeOutside(put('items', 2n, 'outside', null, null));
      const [tail, state] = [await rowsOf(a), a.store.state()];
      let refuses = true;
      a.store.guardNumbering(() => {
        if (refuses) throw new Error('not now');
      });
      await expect(a.store.rewind(RESCUED)).rejects.toThrow('not now');
      expect(await rowsOf(a)).toEqual(tail);
      expect(a.store.state()).toMatchObject({ ...state, rescued: 0 });
      refuses = false;
      expect(await a.store.rewind(RESCUED)).toMatchObject({ transactions: 2 });
    });
  });
}

function describeLedger(kit: KitOf): void {
  describe('the ledger', () => {
    it('shows what is kept, and what the rows are now', async () => {
      const a = await primaryOf(kit);
      await a.write(put('people', 1n, 'new', 'Xaver'), remove('people', 2n), put('pairs', 'n', 1n, 'new'));
      await a.write(put('items', 1n, 'second', null, null));
      const { lastCounter } = a.store.state();
      await a.store.rewind(RESCUED);
      const kept = await a.store.rescues(ALL);
      expect(kept).toMatchObject([
        { counter: lastCounter - 1, reason: 'rescued', state: 'kept', sealedEpoch: 0, changes: 3 },
        { counter: lastCounter, changes: 1, tables: ['items'] },
      ]);
      expect(new Set(kept[0]?.tables)).toEqual(new Set(['people', 'pairs']));
      const [{ id = 0 } = {}, second] = kept;
      expect(await a.store.rescues({ afterId: id, limit: 1 })).toEqual([second]);
      const changes = await a.store.rescueChanges(id, { after: 0, limit: 100 });
      const expected: RescueChange[] = [
        {
          ...{ table: 'people', op: 'update', columns: ['id', 'email', 'name'], key: [1n] },
          before: [1n, 'x', 'Xaver'],
          after: [1n, 'new', 'Xaver'],
          here: [1n, 'x', 'Xaver'],
        },
        {
          ...{ table: 'people', op: 'delete', columns: ['id', 'email', 'name'], key: [2n] },
          before: [2n, 'y', 'Yvonne'],
          here: [2n, 'y', 'Yvonne'],
        },
        {
          ...{ table: 'pairs', op: 'insert', columns: ['left', 'right', 'note'], key: ['n', 1n] },
          after: ['n', 1n, 'new'],
        },
      ];
      expect(changes).toEqual(expected);
      expect(await a.store.rescueChanges(id, { after: 1, limit: 1 })).toEqual([expected[1]]);
      expect(await a.store.rescueChanges(id + 100, { after: 0, limit: 1 })).toEqual([]);
    });

    it('remembers what was decided about it', async () => {
      const a = await primaryOf(kit);
      await a.write(put('items', 1n, 'first', null, null));
      await a.write(put('items', 1n, 'second', null, null));
      await a.store.rewind(RESCUED);
      const [first, second] = await a.store.rescues(ALL);
      const [id = 0, secondId = 0] = [first?.id, second?.id];
      expect(await a.store.resolveRescue(id, 'reapplied', 'b:7')).toBe(true);
      expect(await a.store.resolveRescue(id, 'dismissed')).toBe(false);
      expect(await a.store.resolveRescue(secondId, 'dismissed')).toBe(true);
      await a.crash();
      expect(a.store.state().rescued).toBe(0);
      expect(await a.store.rescues({ ...ALL, state: 'kept' })).toEqual([]);
      expect(await a.store.rescues(ALL)).toMatchObject([
        { id, state: 'reapplied', reappliedAs: 'b:7' },
        { id: secondId, state: 'dismissed' },
      ]);
    });

    it('I3: what the log brings back leaves the ledger, and the rest stays', async () => {
      const a = await primaryOf(kit);
      const known = a.store.state().lastCounter;
      await a.write(put('items', 1n, 'in the log', null, null));
      await a.write(put('items', 2n, 'not in the log', null, null));
      const [sent] = await a.store.sealed({ counter: known, part: 0 }, 1);
      a.log.append('a', sent?.data ?? new Uint8Array());
      await a.store.rewind({ reason: 'rescued', spent: known + 1 });
      await a.receive();
      expect((await a.rows('items')).map(([, name]) => name)).toEqual(['in the log', 'two']);
      await a.crash();
      expect(await countersOf(a.store)).toEqual([known + 2]);
      expect(a.store.state()).toMatchObject({
        vector: { a: known + 1 },
        publishedCounter: known + 1,
        rescued: 1,
      });
      // Numbers that a later epoch spends bring nothing back.
      await enter([a], { primary: 'b' });
      await enter([a], { primary: 'a', after: known + 2, instance: 'i2' });
      await a.write(put('items', 5n, 'later', null, null));
      await a.sync();
      expect(await countersOf(a.store)).toEqual([known + 2]);
    });
  });
}

/** Elected again, so that it takes writes; the transactions that its ledger keeps, in order. */
async function rescuedBy(kit: KitOf): Promise<{
  readonly a: Member;
  readonly changes: readonly (readonly RescueChange[])[];
}> {
  const a = await primaryOf(kit);
  await a.write(
    ...[put('people', 1n, 'z', 'Xaver'), put('people', 2n, 'x', 'Yvonne'), put('people', 1n, 'y', 'X')],
    ...[remove('people', 3n), put('items', 5n, 'new', 2.5, new Uint8Array([5])), remove('items', 5n)],
    ...[put('items', 6n, 'kept', -0, null), put('pairs', 'a', 1n, 'moved')],
  );
  await a.write(put('items', 6n, 'later', 1, null));
  await a.store.rewind(RESCUED);
  const kept = await a.store.rescues(ALL);
  const changes = await Promise.all(
    kept.map(({ id }) => a.store.rescueChanges(id, { after: 0, limit: 100 })),
  );
  await enter([a], { primary: 'a', after: a.store.state().lastCounter, instance: 'mine' }, a);
  return { a, changes };
}

async function again(
  a: Member,
  changes: readonly RescueChange[] = [],
  { force = false } = {},
): Promise<unknown> {
  const [outcome] = await a.store.write([{ run: () => a.store.writeRescued(changes, { force }) }]);
  if (outcome?.type !== 'committed') return outcome;
  return { ...(outcome.value as object), isTransaction: outcome.id !== undefined };
}

const NOTHING = { conflicting: 0, conflicts: [] };

function describeRescued(kit: KitOf): void {
  describe('what was rescued', () => {
    it('I10: is written again as one transaction, once, and captured', async () => {
      const { a, changes } = await rescuedBy(kit);
      const [before, { lastCounter }] = [await rowsOf(a), a.store.state()];
      expect(await again(a, changes[0])).toEqual({ written: 5, present: 0, ...NOTHING, isTransaction: true });
      expect(a.store.state().lastCounter).toBe(lastCounter + 1);
      const after = await rowsOf(a);
      expect(after).not.toEqual(before);
      expect(after['people']).toEqual([
        [1n, 'y', 'X'],
        [2n, 'x', 'Yvonne'],
      ]);
      expect(after['items']?.map(([id]) => id)).toEqual([1n, 2n, 6n]);
      expect(await again(a, changes[0])).toEqual({
        written: 0,
        present: 5,
        ...NOTHING,
        isTransaction: false,
      });
      expect(await again(a, changes[1])).toMatchObject({ written: 1, isTransaction: true });
      // What it captured undoes it.
      expect(await a.store.rewind(RESCUED)).toMatchObject({ transactions: 2, suspicious: [] });
      expect(await rowsOf(a)).toEqual(before);
    });

    it('I10: changes nothing where a row is neither as before nor as after, unless it is told to', async () => {
      const { a, changes } = await rescuedBy(kit);
      await a.write(put('people', 1n, 'other', 'Other'), put('items', 6n, 'kept', -0, null));
      await a.write(remove('pairs', 'a', 1n));
      const before = await rowsOf(a);
      const conflicts = [
        {
          ...{ table: 'people', columns: ['id', 'email', 'name'], key: [1n] },
          ...{ before: [1n, 'x', 'Xaver'], after: [1n, 'y', 'X'], here: [1n, 'other', 'Other'] },
        },
        {
          ...{ table: 'pairs', columns: ['left', 'right', 'note'], key: ['a', 1n] },
          ...{ before: ['a', 1n, 'first'], after: ['a', 1n, 'moved'] },
        },
      ];
      const found = (await again(a, changes[0])) as RescueWrite;
      expect(found).toMatchObject({ written: 0, present: 1, conflicting: 2, isTransaction: false });
      expect(new Set(found.conflicts)).toEqual(new Set(conflicts));
      expect(await rowsOf(a)).toEqual(before);
      expect(await again(a, changes[1])).toMatchObject({ written: 1, conflicting: 0 });
      expect(await again(a, changes[0], { force: true })).toMatchObject({ written: 5, conflicting: 0 });
      expect((await a.rows('items')).map(([, name]) => name)).toContain('kept');
      expect(await a.rows('pairs')).toContainEqual(['a', 1n, 'moved']);
    });

    it('I5: is refused as a whole where a constraint is in the way', async () => {
      const { a, changes } = await rescuedBy(kit);
      await a.write(put('people', 7n, 'taken', null));
      const [first, ...rest] = changes[0] ?? [];
      const taking = { ...(first as RescueChange), after: [1n, 'taken', 'Xaver'] };
      const before = await rowsOf(a);
      expect(await again(a, [taking, ...rest.filter(({ key }) => key[0] !== 1n)])).toMatchObject({
        type: 'rejected',
        error: { code: 'CONSTRAINT' },
      });
      expect(await again(a, [{ ...taking, table: 'nowhere' }])).toMatchObject({
        error: { code: 'UNKNOWN_TABLE' },
      });
      expect(await rowsOf(a)).toEqual(before);
      // What others write is captured as before.
      const { lastCounter } = a.store.state();
      await a.writeOutside(put('people', 8n, null, null));
      expect(await a.store.seal()).toBe(1);
      expect(a.store.state().lastCounter).toBe(lastCounter + 1);
    });
  });
}

function describePending(kit: KitOf): void {
  describe('what is pending', () => {
    it('I2, I9: is written again when its replica is elected, under numbers that nobody had', async () => {
      const [a, b] = await kit().members(['a', 'b'], PRIMARY);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(
        put('people', 1n, 'x', 'Xaver'),
        put('people', 2n, 'y', 'Yvonne'),
        put('pairs', 'a', 1n, null),
      );
      await a.publish();
      await receive(a, b);
      const swap = [put('people', 1n, 'z', null), put('people', 2n, 'x', null), put('people', 1n, 'y', null)];
      await a.write(...swap);
      await a.write(put('items', 1n, 'second', null, null), remove('pairs', 'a', 1n));
      await a.write(...Array.from({ length: BIG_ROWS }, (_, id) => bigRow(id + 100, 1)));
      const tail = await rowsOf(a);
      const { lastCounter } = a.store.state();
      expect(await a.store.rewind(PENDING)).toMatchObject({ transactions: 3 });
      await a.crash();
      expect(a.store.state().rescued).toBe(3);
      await enter([a, b], { primary: 'a', after: lastCounter, instance: 'mine' }, a);
      expect(await rowsOf(a)).toEqual(tail);
      await a.crash();
      expect(await rowsOf(a)).toEqual(tail);
      expect(a.store.state()).toMatchObject({
        ...{ rescued: 0, lastCounter: lastCounter + 3, vector: { a: lastCounter + 3 } },
        publishedCounter: lastCounter,
      });
      expect(await a.write(put('items', 9n, 'next', null, null))).toMatchObject({
        id: { counter: lastCounter + 4 },
      });
      const sealed = await a.store.sealed({ counter: lastCounter, part: 0 }, 100_000_000);
      expect(sealed.flatMap(({ data }) => decodeBatches(data)).every(({ epoch }) => epoch === 1)).toBe(true);
      await a.publish();
      await receive(a, b);
      expect(await rowsOf(b)).toEqual(await rowsOf(a));
      // And is undone as anything else is.
      await a.write(put('people', 1n, 'last', null));
      expect(await a.store.rewind(RESCUED)).toMatchObject({ transactions: 1, suspicious: [] });
      expect(await rowsOf(a)).toEqual(await rowsOf(b));
    });

    it('skips what is so already, and keeps what does not fit any more', async () => {
      const [a] = await kit().members(['a'], PRIMARY);
      if (a === undefined) throw new Error('no member');
      const known = a.store.state().lastCounter;
      await a.write(put('people', 1n, 'same', null));
      await a.write(put('people', 2n, 'taken', null), put('items', 2n, 'with it', null, null));
      await a.write(put('people', 3n, 'free', null));
      await a.store.rewind({ reason: 'pending', spent: known + 10 });
      const past = [put('people', 1n, 'same', null), put('people', 9n, 'taken', null)];
      const other = await kit().member({ rowVersions: false });
      await other.write(...past);
      const { lastCounter: made } = other.store.state();
      const [message] = await other.store.sealed({ counter: made - 1, part: 0 }, 1);
      const [batch] = decodeBatches(message?.data ?? new Uint8Array());
      if (batch?.kind !== 'transactions') throw new Error('not one message');
      const seq = a.log.append('x', new Uint8Array());
      const foreign = { ...batch, origin: 'x', firstCounter: 1 };
      await a.apply([{ type: 'transactions', batch: foreign, skip: 0, seq }], seq);
      await enter([a], { primary: 'a', after: known + 13, instance: 'mine' }, a);
      expect(await a.rows('people')).toEqual([
        [1n, 'same', null],
        [3n, 'free', null],
        [9n, 'taken', null],
      ]);
      expect(await a.rows('items')).toEqual([]);
      await a.crash();
      expect(await a.store.rescues({ ...ALL, state: 'kept' })).toMatchObject([
        { counter: known + 2, reason: 'rescued' },
      ]);
      expect(a.store.state()).toMatchObject({ rescued: 1, lastCounter: known + 14 });
      // Callers know them by the numbers that they had first.
      const again = await Promise.all(
        [known + 1, known + 3].map((counter) => a.store.rescues({ ...ALL, counter })),
      );
      expect(again.flat().map(({ state, reappliedAs }) => [state, reappliedAs])).toEqual([
        ['reapplied', undefined],
        ['reapplied', `a:${known + 14}`],
      ]);
    });
  });
}

function describeWaiting(kit: KitOf): void {
  describe('what is pending still', () => {
    it('waits for an epoch of this process, without a hole before it', async () => {
      const [a] = await kit().members(['a'], PRIMARY);
      if (a === undefined) throw new Error('no member');
      await a.write(put('items', 1n, 'waiting', null, null));
      const { lastCounter } = a.store.state();
      await a.store.rewind(PENDING);
      await enter([a], { primary: 'a', after: lastCounter, instance: 'before' });
      expect(a.store.state().rescued).toBe(1);
      // Numbers that were spent since its claim: who reads the log would wait for them.
      await a.store.rewind({ reason: 'pending', spent: lastCounter + 5 });
      await enter([a], { primary: 'a', after: lastCounter, instance: 'mine' }, a);
      expect(a.store.state().rescued).toBe(1);
      await a.store.rewind(PENDING);
      await enter([a], { primary: 'a', after: lastCounter + 5, instance: 'mine' }, a);
      expect(a.store.state()).toMatchObject({ rescued: 0, lastCounter: lastCounter + 6 });
      expect(await a.rows('items')).toEqual([[1n, 'waiting', null, null]]);
    });

    it('is for an operator when another replica becomes the primary', async () => {
      const a = await primaryOf(kit);
      const before = await rowsOf(a);
      await a.write(put('items', 1n, 'pending', null, null));
      const { lastCounter } = a.store.state();
      await a.store.rewind(PENDING);
      expect(await a.store.rescues(ALL)).toMatchObject([{ reason: 'pending' }]);
      await enter([a], { primary: 'b' });
      await a.crash();
      expect(await a.store.rescues(ALL)).toMatchObject([{ reason: 'rescued', state: 'kept' }]);
      await enter([a], { primary: 'a', after: lastCounter, instance: 'mine' }, a);
      expect(await rowsOf(a)).toEqual(before);
      expect(a.store.state()).toMatchObject({ rescued: 1, lastCounter });
      await a.writeOutside(put('items', 7n, 'outside', null, null));
      expect(await a.store.seal()).toBe(1);
      expect(a.store.state()).toMatchObject({ lastCounter: lastCounter + 1, vector: { a: lastCounter + 1 } });
    });

    it('I1: takes no writes from a restart on, until there is an epoch of this process', async () => {
      const a = await primaryOf(kit);
      await a.write(put('items', 1n, 'pending', null, null));
      await a.store.rewind(PENDING);
      await a.crash();
      await expect(a.writeOutside(put('items', 9n, 'no', null, null))).rejects.toThrow();
      expect(await a.store.seal()).toBe(0);
      const { lastCounter } = a.store.state();
      // An earlier process had it: what that one wrote is still to come.
      await enter([a], { primary: 'a', instance: 'before' });
      await a.crash();
      await expect(a.writeOutside(put('items', 9n, 'no', null, null))).rejects.toThrow();
      await enter([a], { primary: 'a', after: lastCounter, instance: 'mine' }, a);
      await a.writeOutside(put('items', 9n, 'yes', null, null));
      expect(await a.store.seal()).toBe(1);
    });
  });
}

/** What the log has for them; records are no transactions, and behind the positions. */
async function receive(...members: readonly Member[]): Promise<void> {
  for (const member of members) await member.receive();
}
