import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { put, remove, type RowOperation } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import type { Member } from './member.js';

const PROPERTY_TIMEOUT_MS = 60_000;
const IDS = ['a', 'b', 'c'] as const;

type Action =
  | {
      readonly type: 'write';
      readonly member: number;
      readonly operations: readonly RowOperation[];
      readonly outside: boolean;
    }
  | { readonly type: 'publish'; readonly member: number }
  | { readonly type: 'receive'; readonly member: number; readonly entries: number }
  | { readonly type: 'crash'; readonly member: number };

const member = fc.nat({ max: IDS.length - 1 });
const id = fc.bigInt({ min: 1n, max: 4n });
const name = fc.constantFrom('x', 'y', 'z');
const operation: fc.Arbitrary<RowOperation> = fc.oneof(
  fc.tuple(id, name).map(([key, value]) => put('items', key, value, null, null)),
  id.map((key) => remove('items', key)),
  fc.tuple(id, name).map(([key, value]) => put('people', key, `${value}@example.com`, value)),
  id.map((key) => remove('people', key)),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      member,
      operations: fc.array(operation, { minLength: 1, maxLength: 3 }),
      outside: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('publish' as const), member }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('receive' as const),
      member,
      entries: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('crash' as const), member }) },
);

export function describeConverging(kit: KitOf): void {
  describe('several that write', () => {
    it(
      'I4: hold the same in the end, whatever was written, sent, read and killed in whatever order',
      { timeout: PROPERTY_TIMEOUT_MS },
      async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(action, { maxLength: 30 }), async (actions) => {
            const members = await kit().members(IDS);
            for (const step of actions) await perform(step, members);
            await syncAll(members);
            expect(await differences(members)).toEqual([]);
            const [first] = members;
            for (const table of ['items', 'people']) {
              const rows = await first?.rows(table);
              for (const other of members) expect(await other.rows(table)).toEqual(rows);
            }
            expect(
              new Set(members.map(({ store }) => JSON.stringify(sorted(store.state().vector)))).size,
            ).toBe(1);
          }),
          { numRuns: 15, endOnFailure: true },
        );
      },
    );

    it('I4: the later of two writes wins everywhere, a deletion as well', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(
        put('items', 1n, 'both have it', null, null),
        put('items', 2n, 'both have it', null, null),
      );
      await syncAll([a, b]);
      await a.write(put('items', 1n, 'changed', null, null), remove('items', 2n));
      // Later by its hybrid clock, which knows nothing of the write of `a`.
      b.clock.restore(a.clock.last + 1000);
      await b.write(remove('items', 1n), put('items', 2n, 'changed', null, null));
      await syncAll([a, b]);
      expect(await a.rows('items')).toEqual([[2n, 'changed', null, null]]);
      expect(await differences([a, b])).toEqual([]);
      expect(a.store.state().conflicts + b.store.state().conflicts).toBeGreaterThan(0);
    });

    it('I4: an old insert does not bring a deleted row back', async () => {
      const [a, b, c] = await kit().members(IDS);
      if (a === undefined || b === undefined || c === undefined) throw new Error('no members');
      await a.write(put('items', 1n, 'old', null, null));
      b.clock.restore(a.clock.last + 1000);
      await b.write(put('items', 1n, 'newer', null, null));
      await b.write(remove('items', 1n));
      await b.publish();
      await c.receive();
      await a.publish();
      await syncAll([a, b, c]);
      for (const one of [a, b, c]) expect(await one.rows('items')).toEqual([]);
    });

    it('I4: of two rows with one unique value the later is visible, and the other comes back when it is free', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      await a.write(put('people', 1n, 'one@example.com', 'earlier'));
      b.clock.restore(a.clock.last + 1000);
      await b.write(put('people', 2n, 'one@example.com', 'later'));
      await syncAll([a, b]);
      for (const one of [a, b]) expect(await one.rows('people')).toEqual([[2n, 'one@example.com', 'later']]);
      expect(await differences([a, b])).toEqual([]);
      await a.write(put('people', 2n, 'two@example.com', 'moved away'));
      await syncAll([a, b]);
      for (const one of [a, b]) {
        expect(await one.rows('people')).toEqual([
          [1n, 'one@example.com', 'earlier'],
          [2n, 'two@example.com', 'moved away'],
        ]);
      }
      expect(await differences([a, b])).toEqual([]);
    });
  });
}

async function perform(step: Action, members: readonly Member[]): Promise<void> {
  const one = members[step.member];
  if (one === undefined) return;
  if (step.type === 'publish') return await one.publish();
  if (step.type === 'crash') return await one.crash();
  if (step.type === 'receive') return void (await one.receive(step.entries));
  if (!step.outside || !one.store.capabilities.capturesForeignWriters)
    return void (await one.write(...step.operations));
  // A unique value that is taken: the whole transaction is refused, as it should be.
  await one.writeOutside(...step.operations).catch(() => undefined);
}

async function syncAll(members: readonly Member[]): Promise<void> {
  for (const one of members) await one.publish();
  for (const one of members) await one.receive();
}

function sorted(vector: Readonly<Record<string, number>>): readonly (readonly [string, number])[] {
  return Object.entries(vector).sort(([a], [b]) => (a < b ? -1 : 1));
}
