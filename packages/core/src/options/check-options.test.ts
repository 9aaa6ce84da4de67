import { describe, expect, it } from 'vitest';
import { checkOptions, checkRequired } from './check-options.js';
import { oneOf, OPTION } from './option-kinds.js';

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

describe('kinds of options', () => {
  const kinds = {
    ...{ file: OPTION.text, force: OPTION.flag, waitMs: OPTION.milliseconds, readers: OPTION.count },
    ...{ names: OPTION.names, done: OPTION.callback, level: oneOf('low', 'high') },
  };

  it('pass what fits', () => {
    const given = {
      ...{ file: '', force: false, waitMs: 0.5, readers: 0, names: [], done: () => 0, level: 'low' },
    };
    expect(() => checkOptions(given, kinds, 'f()')).not.toThrow();
  });

  it.each<[unknown, RegExp]>([
    [{ file: 5 }, /`file` of f\(\) is 5\. Give a text\./],
    [{ force: 'yes' }, /`force` of f\(\) is "yes"\. Give true or false\./],
    [{ waitMs: '5' }, /`waitMs` of f\(\) is "5"\. Give 0 or more milliseconds\./],
    [{ waitMs: NaN }, /is NaN\./],
    [{ waitMs: Infinity }, /is Infinity\./],
    [{ readers: -1 }, /is -1\. Give a whole number, 0 or more\./],
    [{ names: 'a' }, /is "a"\. Give a list of names\./],
    [{ names: ['a', 1] }, /Give a list of names\./],
    [{ done: 'x' }, /Give a function\./],
    [{ level: 'LOW' }, /`level` of f\(\) is "LOW"\. Give "low" or "high"\./],
  ])('refuse %j', (given, message) => {
    const check = () => checkOptions(given, kinds, 'f()');
    expect(check).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(check).toThrow(message);
  });
});
