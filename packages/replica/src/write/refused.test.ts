import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { hasRun, Refused } from './refused.js';

const error = new AntiphonError('CONSTRAINT', 'It is so.');

describe('what was refused', () => {
  it('is remembered for a while, in its epoch', () => {
    let nowMs = 0;
    const refused = new Refused({ monotonicMs: () => nowMs }, 1000);
    refused.add('a', 1, error);
    nowMs = 1000;
    expect(refused.find('a', 1)).toBe(error);
    expect(refused.find('b', 1)).toBeUndefined();
    // Another primary may have written it in between.
    expect(refused.find('a', 3)).toBeUndefined();
    nowMs = 1001;
    expect(refused.find('a', 1)).toBeUndefined();
  });

  it('I11: is forgotten where it is too much, the oldest first', () => {
    const refused = new Refused({ monotonicMs: () => 0 }, 1000);
    for (let call = 0; call <= 10_000; call++) refused.add(String(call), 1, error);
    refused.add('1', 1, error);
    expect(refused.find('0', 1)).toBeUndefined();
    refused.add('new', 1, error);
    expect(refused.find('1', 1)).toBe(error);
    expect(refused.find('2', 1)).toBeUndefined();
  });

  it('is what has run', () => {
    expect(hasRun(error)).toBe(true);
    expect(hasRun(new AntiphonError('TIMEOUT', 'It is so.'))).toBe(false);
  });
});
