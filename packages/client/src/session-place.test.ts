import { describe, expect, it } from 'vitest';
import { formatSessionPlace, parseSessionPlace, sessionPosition } from './session-place.js';

const badOption = expect.objectContaining({ code: 'BAD_OPTION' }) as Error;

describe('a session place', () => {
  it('is a position as status prints it, transactions, or both', () => {
    expect(parseSessionPlace('0a1b2c3d/42')).toEqual({ generation: '0a1b2c3d', seq: 42, vector: {} });
    expect(parseSessionPlace('0192f3a4-b5c6/42')).toMatchObject({ generation: '0192f3a4-b5c6', seq: 42 });
    expect(parseSessionPlace('eu-1:7')).toEqual({ generation: '', seq: 0, vector: { 'eu-1': 7 } });
    expect(parseSessionPlace('eu-1:7, x/3, eu-2:1, eu-1:5~token')).toEqual({
      ...{ generation: 'x', seq: 3 },
      vector: { 'eu-1': 7, 'eu-2': 1 },
    });
  });

  it.each(['0a1b2c3d/42', 'eu-1:7', '0192f3a4-b5c6/3,eu-1:7,eu-2:1'])(
    'is written as it is read: %s',
    (text) => {
      expect(formatSessionPlace(parseSessionPlace(text))).toBe(text);
    },
  );

  it.each(['', 'yesterday', '0a1b2c3d/', '/42', 'a/1,b/2', 'eu-1:0', 'eu-1:7,', 'a/1.5'])(
    'is not %j',
    (text) => {
      expect(() => parseSessionPlace(text)).toThrow(badOption);
    },
  );

  it('I14: is of one log only', () => {
    const current = { generation: '0a1b2c3d4e5f', seq: 50 };
    const { generation } = current;
    expect(sessionPosition(parseSessionPlace('0a1b2c3d/42'), current)).toEqual({
      generation,
      seq: 42,
      vector: {},
    });
    expect(sessionPosition(parseSessionPlace('eu-1:7'), current)).toMatchObject({ generation, seq: 0 });
    expect(() => sessionPosition(parseSessionPlace('ffffffff/42'), current)).toThrow(badOption);
  });
});
