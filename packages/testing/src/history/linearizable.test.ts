import { describe, expect, test } from 'vitest';
import { checkLinearizable, type LinearizableResult } from './linearizable.js';
import type { OperationRecord, RegisterValue } from './operation.js';

/**
 * `w1 0-5`: a shorthand for one operation on key `x`. `?` for an end: unknown; `!` behind it:
 * failed.
 */
function operations(...lines: readonly string[]): OperationRecord[] {
  return lines.map((line, id) => {
    const [, process, kind, text, from, to, failed] =
      /^(\w+): ([rwi])(\w*) (\d+)-(\d+|\?)(!?)$/.exec(line) ?? [];
    if (process === undefined || from === undefined) throw new Error(`not understood: ${line}`);
    const value: RegisterValue = text === undefined || text === '' ? null : Number(text);
    const operation =
      kind === 'r'
        ? ({ kind: 'read', key: 'x' } as const)
        : kind === 'w'
          ? ({ kind: 'write', key: 'x', value } as const)
          : ({ kind: 'increment', key: 'x', by: Number(value) } as const);
    const started = { process, id, operation, invokedAtMs: Number(from) };
    if (to === '?') return { ...started, completion: { type: 'unknown' } };
    const completedAtMs = Number(to);
    if (failed === '!') return { ...started, completedAtMs, completion: { type: 'failed' } };
    return { ...started, completedAtMs, completion: kind === 'r' ? { type: 'ok', value } : { type: 'ok' } };
  });
}

function explanationOf(result: LinearizableResult): string {
  return result.linearizable === false ? result.explanation : '';
}

function shown(result: LinearizableResult): number[] {
  return result.linearizable === false ? result.operations.map(({ id }) => id) : [];
}

describe('linearizable', () => {
  test.each<[string, string[]]>([
    ['nothing', []],
    ['a read of what was never written', ['a: r 0-1']],
    ['a read after a write', ['a: w1 0-1', 'b: r1 2-3']],
    ['overlapping writes, seen in either order', ['a: w1 0-10', 'b: w2 0-10', 'c: r2 11-12']],
    ['a read that overlaps the write sees it', ['a: w1 0-10', 'b: r1 1-2']],
    ['a read that overlaps the write does not see it', ['a: w1 0-10', 'b: r 1-2']],
    [
      'Herlihy & Wing, figure 1: reads of overlapping writes',
      ['a: w0 0-2', 'b: w1 1-6', 'a: r1 3-5', 'c: r1 4-8'],
    ],
    ['an unknown write that nobody sees', ['a: w1 0-1', 'b: w2 2-?', 'c: r1 10-11', 'c: r1 20-21']],
    ['an unknown write that shows much later', ['a: w1 0-1', 'b: w2 2-?', 'c: r1 10-11', 'c: r2 90-91']],
    ['an unknown read', ['a: w1 0-1', 'b: r 2-?']],
    ['a failed write that nobody sees', ['a: w1 0-1', 'b: w2 2-3!', 'c: r1 4-5']],
    ['the same value written twice', ['a: w1 0-1', 'a: w2 2-3', 'b: r2 4-5', 'a: w1 6-7', 'b: r1 8-9']],
    ['deleted', ['a: w1 0-1', 'a: w 2-3', 'b: r 4-5']],
    ['increments that overlap', ['a: i1 0-9', 'b: i1 0-9', 'c: r1 1-2', 'c: r2 3-4']],
    ['an unknown increment that counted', ['a: i1 0-1', 'b: i2 2-?', 'c: r3 4-5']],
    ['times that touch overlap', ['a: w1 0-5', 'b: r 5-6']],
  ])('%s', (_title, lines) => {
    expect(checkLinearizable(operations(...lines))).toEqual({ linearizable: true });
  });
});

describe('not linearizable', () => {
  test.each<[string, string[], number]>([
    ['stale read', ['a: w1 0-1', 'a: w2 2-3', 'b: r1 4-5'], 2],
    ['a write that was acknowledged and is lost', ['a: w1 0-1', 'b: r 2-3'], 1],
    ['a value that nobody wrote', ['a: w1 0-1', 'b: r7 0-9'], 1],
    ['a read from the future', ['a: r1 0-1', 'b: w1 2-3'], 0],
    ['a failed write shows', ['a: w1 0-1!', 'b: r1 2-3'], 1],
    ['new, then old again, while the write is under way', ['a: w1 0-90', 'b: r1 1-2', 'c: r 3-4'], 2],
    ['readers disagree about the order', ['a: w1 0-9', 'b: w2 0-9', 'c: r1 10-11', 'd: r2 12-13'], 3],
    ['an unknown write shows and then disappears', ['a: w1 0-1', 'b: w2 2-?', 'c: r2 4-5', 'c: r1 6-7'], 3],
    [
      'an unknown write shows a second time',
      ['a: w2 0-?', 'b: r2 1-2', 'b: w3 3-4', 'b: r3 5-6', 'b: r2 7-8'],
      4,
    ],
    ['lost update', ['a: i1 0-9', 'b: i1 0-9', 'c: r1 10-11'], 2],
    ['an increment counted twice', ['a: i1 0-?', 'c: r1 10-11', 'c: r2 12-13'], 2],
    ['deleted, and there again', ['a: w1 0-1', 'a: w 2-3', 'b: r 4-5', 'b: r1 6-7'], 3],
  ])('%s', (_title, lines, culprit) => {
    expect(checkLinearizable(operations(...lines))).toMatchObject({
      linearizable: false,
      key: 'x',
      culprit: { id: culprit },
    });
  });

  test('lost update seen from the results of the increments', () => {
    const [one, two] = operations('a: i1 0-9', 'b: i1 0-9');
    const both = [one!, two!].map((record) => ({ ...record, completion: { type: 'ok', value: 1 } as const }));
    expect(checkLinearizable(both)).toMatchObject({ linearizable: false });
  });

  test('the explanation leaves out what does not matter and says what would have been right', () => {
    const noise = Array.from({ length: 50 }, (_, i) => [
      `n: w${100 + i} ${i * 4}-${i * 4 + 1}`,
      `m: r${100 + i} ${i * 4 + 2}-${i * 4 + 3}`,
    ]);
    const result = checkLinearizable(
      operations(
        ...noise.flat(),
        'a: w1 900-901',
        'a: w2 902-903',
        'c: r2 904-905',
        'b: r1 906-907',
        'c: r2 908-909',
      ),
    );
    expect(shown(result)).toEqual([100, 101, 103]);
    expect(explanationOf(result)).toBe(
      [
        'Key "x" is not linearizable: b got an answer that no order of the operations explains.',
        '  read -> 1',
        '1 was written once, by a (ok).',
        'It could have returned 2.',
        'The 103 operations that completed before it have an order; with it there is none.',
        'These contradict each other (times from the first operation on this key):',
        '        900.000 ..      901.000 ms  a  write 1: ok',
        '        902.000 ..      903.000 ms  a  write 2: ok',
        '->      906.000 ..      907.000 ms  b  read -> 1',
        'The last operations on this key until then:',
        '        188.000 ..      189.000 ms  n  write 147: ok',
        '        190.000 ..      191.000 ms  m  read -> 147',
        '        192.000 ..      193.000 ms  n  write 148: ok',
        '        194.000 ..      195.000 ms  m  read -> 148',
        '        196.000 ..      197.000 ms  n  write 149: ok',
        '        198.000 ..      199.000 ms  m  read -> 149',
        '        900.000 ..      901.000 ms  a  write 1: ok',
        '        902.000 ..      903.000 ms  a  write 2: ok',
        '        904.000 ..      905.000 ms  c  read -> 2',
        '->      906.000 ..      907.000 ms  b  read -> 1',
      ].join('\n'),
    );
  });

  test('an unknown write that nobody read is named among what could have been returned', () => {
    const result = checkLinearizable(operations('a: w1 0-1', 'a: w2 2-3', 'd: w3 4-?', 'b: r1 5-6'));
    expect(explanationOf(result)).toContain('It could have returned 2 or 3.');
  });
});

describe('options and limits', () => {
  const stale = operations('a: w1 0-1', 'b: r 2-3');

  test('clocks that may differ make operations overlap', () => {
    expect(checkLinearizable(stale, { clockErrorMs: 1 }).linearizable).toBe(true);
    expect(checkLinearizable(stale, { clockErrorMs: 0.5 }).linearizable).toBe(false);
  });

  test('what was there before the history', () => {
    const initialValues = new Map([['x', 5]]);
    expect(checkLinearizable(operations('a: r5 0-1'), { initialValues }).linearizable).toBe(true);
    expect(checkLinearizable(operations('a: r 0-1'), { initialValues }).linearizable).toBe(false);
  });

  test('too many operations of a key, or states, are undecided and say which limit', () => {
    expect(checkLinearizable(stale, { maxOperationsPerKey: 1 })).toMatchObject({
      linearizable: 'undecided',
      reason: expect.stringContaining('maxOperationsPerKey (1)'),
    });
    const long = operations('a: w1 0-1', 'b: r1 2-3', 'a: w2 4-5', 'b: r2 6-7', 'a: w3 8-9', 'b: r1 10-11');
    expect(checkLinearizable(long, { maxStatesPerKey: 1 })).toMatchObject({
      linearizable: 'undecided',
      reason: expect.stringContaining('maxStatesPerKey (1)'),
    });
  });

  test('a search that would take for ever ends', () => {
    // Which of 30 overlapping increments counted before the impossible read?
    const increments = Array.from({ length: 30 }, (_, i) => `p${i}: i${2 ** i} 0-?`);
    const result = checkLinearizable(operations(...increments, 'a: r 0-1', 'b: r7 2-3', 'b: r8 4-5'), {
      maxStatesPerKey: 20_000,
    });
    expect(result.linearizable).toBe('undecided');
  });

  test('a contradiction in one key counts although another key is undecided', () => {
    const other = operations('a: w1 0-1', 'b: r1 2-3', 'b: r1 4-5').map((record) => ({
      ...record,
      operation: { ...record.operation, key: 'y' },
    }));
    expect(checkLinearizable([...other, ...stale], { maxOperationsPerKey: 2 })).toMatchObject({
      linearizable: false,
      key: 'x',
    });
  });

  test('keys do not matter to each other', () => {
    const other = stale.map((record) => ({ ...record, operation: { ...record.operation, key: 'y' } }));
    expect(checkLinearizable([stale[0]!, other[1]!]).linearizable).toBe(true);
  });
});
