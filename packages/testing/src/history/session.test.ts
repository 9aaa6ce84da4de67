import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OperationRecord } from './operation.js';
import { checkSession, SESSION_GUARANTEES } from './session.js';

/** `a: w3 0-1`: process a wrote and got version 3. Values are not looked at. */
function operations(...lines: readonly string[]): OperationRecord[] {
  return lines.map((line, id) => {
    const [, process, kind, version, from, to] = /^(\w+): ([rw])(\d*) (\d+)-(\d+|\?)$/.exec(line) ?? [];
    if (process === undefined) throw new Error(`not understood: ${line}`);
    const operation =
      kind === 'r'
        ? ({ kind: 'read', key: 'x' } as const)
        : ({ kind: 'write', key: 'x', value: `v${version}` } as const);
    const started = { process, id, operation, invokedAtMs: Number(from) };
    if (to === '?') return { ...started, completion: { type: 'unknown' } };
    const seen = version === '' ? {} : { version: Number(version) };
    const value = version === '' ? null : `v${version}`;
    const completion =
      kind === 'r' ? { type: 'ok' as const, value, ...seen } : { type: 'ok' as const, ...seen };
    return { ...started, completedAtMs: Number(to), completion };
  });
}

function violated(records: readonly OperationRecord[]): string[] {
  return checkSession(records).violations.map(
    ({ guarantee, earlier, later }) => `${guarantee} ${earlier.id} ${later.id}`,
  );
}

describe('session guarantees', () => {
  test.each<[string, string[], string[]]>([
    ['reads its own write', ['a: w1 0-1', 'a: r1 2-3'], []],
    ['reads something newer than its write', ['a: w1 0-1', 'a: r9 2-3'], []],
    ['does not read its own write', ['a: w2 0-1', 'a: r1 2-3'], ['read-your-writes 0 1']],
    ['finds nothing after its own write', ['a: w2 0-1', 'a: r 2-3'], ['read-your-writes 0 1']],
    ["does not see another's write", ['a: w2 0-1', 'b: r1 2-3'], []],
    ['reads go forward', ['a: r1 0-1', 'a: r1 2-3', 'a: r4 4-5'], []],
    ['reads go back', ['a: r3 0-1', 'a: r2 2-3'], ['monotonic-reads 0 1']],
    ['reads go back, not at the very next', ['a: r3 0-1', 'a: r3 2-3', 'a: r2 4-5'], ['monotonic-reads 0 2']],
    ['writes out of order', ['a: w3 0-1', 'a: w2 2-3'], ['monotonic-writes 0 1']],
    ['a write before what was read', ['a: r3 0-1', 'a: w2 2-3'], ['writes-follow-reads 0 1']],
    ['overlapping operations promise nothing', ['a: w2 0-9', 'a: r1 2-3'], []],
    ['times that touch follow the ids', ['a: w2 0-5', 'a: r1 5-6'], ['read-your-writes 0 1']],
    ['an unknown write promises nothing', ['a: w 0-?', 'a: r1 2-3'], []],
    ['both', ['a: w3 0-1', 'a: r4 2-3', 'a: r1 4-5'], ['read-your-writes 0 2', 'monotonic-reads 1 2']],
  ])('%s', (_title, lines, expected) => {
    expect(violated(operations(...lines))).toEqual(expected);
  });

  test('keys are apart', () => {
    const [write, read] = operations('a: w2 0-1', 'a: r1 2-3');
    expect(violated([{ ...write!, operation: { kind: 'write', key: 'y', value: 1 } }, read!])).toEqual([]);
  });

  test('only what is asked for', () => {
    const records = operations('a: w3 0-1', 'a: r4 2-3', 'a: r1 4-5');
    const { violations } = checkSession(records, { guarantees: ['monotonic-reads'] });
    expect(violations.map(({ guarantee }) => guarantee)).toEqual(['monotonic-reads']);
  });

  test('explains', () => {
    expect(checkSession(operations('a: w2 0-1', 'a: r1 3-4')).violations[0]?.explanation).toBe(
      'read-your-writes: a on key "x": it read a version older than the one it had written. ' +
        'First write "v2": ok (version 2), then (2.000 ms later) read -> "v1" (version 1).',
    );
  });

  test('operations without a version are counted, so that a check of nothing shows', () => {
    expect(checkSession(operations('a: w 0-1', 'a: r1 2-3'))).toEqual({
      violations: [],
      checked: 1,
      unchecked: 1,
    });
  });

  test('where a key is deleted, a read of nothing may be the newest', () => {
    const [write, read] = operations('a: w2 0-1', 'a: r 4-5');
    const [deleted] = operations('b: w3 2-3');
    const records = [
      write!,
      { ...deleted!, operation: { kind: 'write', key: 'x', value: null } as const },
      read!,
    ];
    expect(checkSession(records)).toEqual({ violations: [], checked: 2, unchecked: 1 });
  });

  test('agrees with comparing every pair', () => {
    const one = fc.record({
      isRead: fc.boolean(),
      version: fc.integer({ min: 1, max: 6 }),
      from: fc.integer({ min: 0, max: 20 }),
      lastsMs: fc.integer({ min: 0, max: 5 }),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), (all) => {
        const records = operations(
          ...all.map(
            ({ isRead, version, from, lastsMs }) =>
              `a: ${isRead ? 'r' : 'w'}${version} ${from}-${from + lastsMs}`,
          ),
        );
        const pairs = records.flatMap((later) =>
          records
            .filter((earlier) => {
              const end = earlier.completedAtMs!;
              return end < later.invokedAtMs || (end === later.invokedAtMs && earlier.id < later.id);
            })
            .filter((earlier) => {
              const [before, after] = [earlier, later].map(({ completion }) =>
                completion.type === 'ok' ? completion.version! : 0,
              );
              return later.operation.kind === 'read' ? after! < before! : after! <= before!;
            })
            .map((earlier) => {
              const isWrite = earlier.operation.kind === 'write' ? 0 : 1;
              return `${SESSION_GUARANTEES[isWrite + (later.operation.kind === 'read' ? 0 : 2)]} ${later.id}`;
            }),
        );
        const found = checkSession(records).violations.map(
          ({ guarantee, later }) => `${guarantee} ${later.id}`,
        );
        expect([...found].sort()).toEqual([...new Set(pairs)].sort());
      }),
      { numRuns: 2000 },
    );
  });
});
