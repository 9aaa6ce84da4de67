import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import { codeOf } from '../error-code.js';

export function describeReading(kit: KitOf): void {
  describe('checksums and digests', () => {
    it('tell by the row what differs, and at which state', async () => {
      const [a, b] = await kit().members(['a', 'b']);
      if (a === undefined || b === undefined) throw new Error('no members');
      for (let id = 1n; id <= 7n; id++) await a.write(put('items', id, 'x', 1, null));
      await a.publish();
      await b.receive();
      expect(await differences([a, b])).toEqual([]);
      const report = await b.store.checksum(['items']);
      expect(report).toMatchObject({ vector: b.store.state().vector, tables: [{ table: 'items', rows: 7 }] });
      await b.write(put('items', 5n, 'other', 1, null));
      expect(await differences([a, b])).toEqual(['items of b differs from a']);
      const different: unknown[] = [];
      for (let after: readonly (bigint | null)[] | undefined; ;) {
        const [here, there] = [
          await a.store.rowDigests('items', after, 3),
          await b.store.rowDigests('items', after, 3),
        ];
        if (here.length === 0) break;
        expect(here.map(({ key }) => key)).toEqual(there.map(({ key }) => key));
        different.push(
          ...here.filter(({ digest }, index) => digest !== there[index]?.digest).map(({ key }) => key),
        );
        after = here.at(-1)?.key as readonly bigint[];
      }
      expect(different).toEqual([[5n]]);
    });
  });

  describe('closing', () => {
    it('can be done twice, and nothing works afterwards', async () => {
      const member = await kit().member();
      await member.store.close();
      await member.store.close();
      expect(await member.store.seal().then(() => 'sealed', codeOf)).toBe('CLOSED');
      expect(await member.write(put('items', 1n, 'x', null, null)).then(() => 'written', codeOf)).toBe(
        'CLOSED',
      );
      expect(await member.store.checksum().then(() => 'read', codeOf)).toBe('CLOSED');
    });
  });
}
