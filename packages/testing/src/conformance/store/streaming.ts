import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import type { KitOf } from './kit.js';
import { codeOf } from '../error-code.js';

export function describeStreaming(kit: KitOf): void {
  describe('a stream of rows', () => {
    const ALL = 'SELECT id FROM items ORDER BY id';
    const forever = new AbortController().signal;

    it('gives every row of one snapshot, piece by piece', async () => {
      const member = await kit().member();
      for (let id = 1n; id <= 3n; id++) await member.write(put('items', id, 'x', 1, null));
      const stream = await member.store.stream(ALL, [], { signal: forever });
      expect(stream.columns).toEqual(['id']);
      await member.write(put('items', 4n, 'x', 1, null));
      expect(await stream.next()).toEqual([[1n], [2n], [3n]]);
      expect(await stream.next()).toBeUndefined();
      expect(await stream.next()).toBeUndefined();
      stream.close();
    });

    it('comes in more than one piece when it is large', async () => {
      const member = await kit().member();
      const sql = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n`;
      const stream = await member.store.stream(sql, [20_000n], { signal: forever });
      const pieces: number[] = [];
      for (let rows = await stream.next(); rows !== undefined; rows = await stream.next())
        pieces.push(rows.length);
      expect(pieces.length).toBeGreaterThan(2);
      expect(pieces.reduce((sum, rows) => sum + rows, 0)).toBe(20_000);
    });

    it('refuses what a query refuses, and a row that is too large', async () => {
      const member = await kit().member();
      const open = (sql: string, maxRowBytes?: number): Promise<unknown> =>
        member.store
          .stream(sql, [], { signal: forever, ...(maxRowBytes !== undefined && { maxRowBytes }) })
          .then((stream) => stream.next())
          .then(() => 'rows', codeOf);
      expect(await open('DELETE FROM items')).toBe('BAD_SQL');
      expect(await open('SELECT * FROM nothing')).toBe('BAD_SQL');
      expect(await open("SELECT printf('%.1000c', 'x')", 500)).toBe('BAD_SQL');
      expect(await open("SELECT printf('%.100c', 'x')", 500)).toBe('rows');
    });

    it('ends with its signal, and with the store', async () => {
      const member = await kit().member();
      const gone = AbortSignal.abort();
      expect(await member.store.stream(ALL, [], { signal: gone }).then(() => 'open', codeOf)).toBe('ABORTED');
      const giving = new AbortController();
      const stream = await member.store.stream(ALL, [], { signal: giving.signal });
      giving.abort();
      expect(await stream.next().then(() => 'rows', codeOf)).toBe('ABORTED');
      stream.close();
      await member.store.close();
      expect(await member.store.stream(ALL, [], { signal: forever }).then(() => 'open', codeOf)).toBe(
        'CLOSED',
      );
    });
  });
}
