import { describe, expect, it } from 'vitest';
import { checkOptions, checkRequired } from './check-options.js';

const NAMES = { tables: true, timeoutMs: true, signal: true };
const check = (given: unknown) => () => checkOptions(given, NAMES, 'changes()');

describe('options', () => {
  it('that are known, or left out, pass', () => {
    for (const given of [
      undefined,
      {},
      { tables: ['t'], signal: new AbortController().signal },
      { foo: undefined },
    ])
      expect(check(given)).not.toThrow();
  });

  it.each<[unknown, RegExp]>([
    [{ tabels: [] }, /changes\(\) has no option "tabels"\. Did you mean "tables"\?/],
    [{ xyzzy: 1 }, /no option "xyzzy"\. Possible: tables, timeoutMs, signal\./],
    [{ toString: 1 }, /no option "toString"/],
    [null, /options of changes\(\) are null\. Give an object/],
    [5n, /are 5n\./],
    ['t', /are "t"\./],
    [[], /are \[\]\./],
    [() => 1, /are a function\./],
    [{ signal: {} }, /`signal` of changes\(\) is \{\}\. Give an AbortSignal/],
    [{ signal: null }, /`signal` of changes\(\) is null/],
  ])('%s are refused', (given, message) => {
    expect(check(given)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(check(given)).toThrow(message);
  });

  it('that are needed are asked for', () => {
    const required = (given: unknown) => () => checkRequired(given, NAMES, 'f()', ['tables', 'timeoutMs']);
    expect(required({ tables: [], timeoutMs: 0 })).not.toThrow();
    expect(required(undefined)).toThrow(/f\(\) lacks `tables`, `timeoutMs`/);
    expect(required({ tables: [] })).toThrow(/lacks `timeoutMs`/);
    expect(required(null)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });
});
