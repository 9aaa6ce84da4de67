import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { MAX_CONTROL_BYTES, MAX_CONTROL_DEPTH, decodeControl, encodeControl } from './control.js';

const plain = fc.letrec<{ any: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true }),
    fc.maxSafeInteger(),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
  ),
  any: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((key) => key !== '__proto__'),
      tie('any'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).any;

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

describe('a control message', () => {
  it('comes back as it was, bigint and number apart', () => {
    fc.assert(
      fc.property(plain, (value) => {
        // -0 is the one number that does not: integers are written as such.
        const normal = (input: unknown): unknown => (Object.is(input, -0) ? 0 : input);
        fc.pre(
          !JSON.stringify(value, (_, each: unknown) =>
            Object.is(each, -0) ? '-0!' : typeof each === 'bigint' ? '' : each,
          )?.includes('-0!'),
        );
        expect(decodeControl(encodeControl(value))).toStrictEqual(normal(value));
      }),
    );
  });

  it('leaves out what is undefined', () => {
    expect(decodeControl(encodeControl({ a: 1, b: undefined }))).toEqual({ a: 1 });
  });

  it('is bounded in depth, both ways', () => {
    expect(decodeControl(encodeControl(nested(MAX_CONTROL_DEPTH - 1)))).toEqual(
      nested(MAX_CONTROL_DEPTH - 1),
    );
    expect(codeThrownBy(() => encodeControl(nested(MAX_CONTROL_DEPTH + 1)))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => decodeControl(Buffer.alloc(200, 0x91)))).toBe('MALFORMED_MESSAGE');
    const circular: unknown[] = [];
    circular.push(circular);
    expect(codeThrownBy(() => encodeControl(circular))).toBe('MALFORMED_MESSAGE');
  });

  it('is bounded in size, both ways', () => {
    expect(codeThrownBy(() => encodeControl(new Uint8Array(MAX_CONTROL_BYTES)))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => decodeControl(new Uint8Array(MAX_CONTROL_BYTES + 1)))).toBe(
      'MESSAGE_TOO_LARGE',
    );
  });

  it('is refused when something is wrong with it', () => {
    for (const each of ['', 'c1', '91', '0101', 'a2c3', '81a95f5f70726f746f5f5f80']) {
      expect([each, codeThrownBy(() => decodeControl(Buffer.from(each, 'hex')))]).toContain(
        'MALFORMED_MESSAGE',
      );
    }
  });
});
