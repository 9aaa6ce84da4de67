import { Decoder, Encoder, ExtData, ExtensionCodec } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, float, integer, tagged, text, value } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { TaggedValue, type Value } from '../model/value.js';
import { EXT_TYPE_OF_TAG, TAG_OF_EXT_TYPE } from './format.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';
import { ValueReader } from './value-reader.js';
import { ValueWriter } from './value-writer.js';

const extensionCodec = new ExtensionCodec();
for (const [type, tag] of TAG_OF_EXT_TYPE) {
  extensionCodec.register({
    type,
    encode: (input) => (input instanceof TaggedValue && input.tag === tag ? input.bytes : null),
    decode: (content) => new TaggedValue(tag, content),
  });
}
const theirDecoder = new Decoder({ useBigInt64: true, extensionCodec });
const theirEncoder = new Encoder({ useBigInt64: true, extensionCodec, forceIntegerToFloat: true });

function write(input: Value): Uint8Array {
  const writer = new ValueWriter();
  writer.writeValue(input);
  return writer.slice(0, writer.length);
}

function read(data: Uint8Array): Value {
  const reader = new ValueReader(data);
  const result = reader.readValue();
  expect(reader.remaining).toBe(0);
  return result;
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}

describe('a value', () => {
  it('comes back as it was, with its type', () => {
    fc.assert(
      fc.property(fc.oneof(value, integer, float, text, bytes, tagged), (input) => {
        expect(read(write(input))).toStrictEqual(input);
      }),
      { numRuns: 1000 },
    );
  });

  it('can be read by @msgpack/msgpack', () => {
    fc.assert(
      fc.property(fc.oneof(value, integer, float, text, bytes, tagged), (input) => {
        const theirs = theirDecoder.decode(write(input));
        // It gives small integers as numbers: there, 5 and 5.0 are the same.
        expect(typeof input === 'bigint' ? BigInt(theirs as number | bigint) : theirs).toStrictEqual(input);
      }),
      { numRuns: 1000 },
    );
  });

  it('can be read when @msgpack/msgpack wrote it', () => {
    fc.assert(
      fc.property(fc.oneof(value, integer, float, text, bytes, tagged), (input) => {
        expect(read(theirEncoder.encode(input))).toStrictEqual(input);
      }),
      { numRuns: 1000 },
    );
  });

  it('can be read when @msgpack/msgpack wrote an integer number in its smallest form', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (input) => {
        const theirs = new Encoder().encode(input);
        expect(read(theirs)).toBe(BigInt(input));
        expect(hex(write(BigInt(input)))).toBe(hex(theirs));
      }),
    );
  });

  it('may be a float of four bytes when another program wrote it', () => {
    expect(read(Buffer.from('ca3fc00000', 'hex'))).toBe(1.5);
  });

  it('may have integers and lengths in longer forms than necessary', () => {
    expect(read(Buffer.from('d30000000000000005', 'hex'))).toBe(5n);
    expect(read(Buffer.from('cf0000000000000005', 'hex'))).toBe(5n);
    expect(read(Buffer.from('d2fffffffe', 'hex'))).toBe(-2n);
    expect(read(Buffer.from('db0000000161', 'hex'))).toBe('a');
    expect(read(Buffer.from('c60000000161', 'hex'))).toStrictEqual(new Uint8Array([0x61]));
    expect(read(Buffer.from('c9000000010561', 'hex'))).toStrictEqual(
      new TaggedValue('uuid', new Uint8Array([0x61])),
    );
  });

  it('may be long', () => {
    const lengths = [4095, 4096, 4097, 21_845, 21_846, 65_535, 65_536, 200_000];
    for (const length of lengths) {
      for (const unit of ['y', 'ÿ', '漢', '😀']) {
        const long = unit.repeat(length);
        const data = write(long);
        expect(read(data) === long).toBe(true);
        expect(theirDecoder.decode(data) === long).toBe(true);
      }
      const blob = new Uint8Array(length).fill(length);
      expect(Buffer.compare(read(write(blob)) as Uint8Array, blob)).toBe(0);
      const back = read(write(new TaggedValue('json', blob))) as TaggedValue;
      expect(Buffer.compare(back.bytes, blob)).toBe(0);
    }
  });

  it('keeps integer 5, float 5.0, 0.0 and -0.0 apart', () => {
    expect(hex(write(5n))).toBe('05');
    expect(hex(write(5))).toBe('cb4014000000000000');
    expect(hex(write(0))).toBe('cb0000000000000000');
    expect(hex(write(-0))).toBe('cb8000000000000000');
    expect(Object.is(read(write(-0)), -0)).toBe(true);
  });

  it('is refused by the writer when no reader would give it back', () => {
    expect(codeThrownBy(() => write(NaN))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write('a\uD800'))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write(`${'x'.repeat(6000)}\uDC00`))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write(2n ** 63n))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write(-(2n ** 63n) - 1n))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write(undefined as unknown as Value))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write({} as Value))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => write(new TaggedValue('money' as 'uuid', new Uint8Array())))).toBe(
      'MALFORMED_MESSAGE',
    );
    expect(codeThrownBy(() => write(new TaggedValue('constructor' as 'uuid', new Uint8Array())))).toBe(
      'MALFORMED_MESSAGE',
    );
  });

  it('is refused by the reader when it is no database value', () => {
    const refused = [
      'c1', // never used
      'cb7ff8000000000000', // NaN
      'ca7fc00000', // NaN
      'cf8000000000000000', // above int64
      '90', // array
      '80', // map
      'd40961', // unknown ext type
      'd4ff61', // the library's own timestamp type
      'a1ff', // invalid UTF-8
      'a3eda080', // half of a surrogate pair
      'a2c080', // overlong NUL
      'd92080', // cut
      'da7fff61', // a length that is not there
    ];
    for (const each of refused)
      expect([each, codeThrownBy(() => read(Buffer.from(each, 'hex')))]).toContain('MALFORMED_MESSAGE');
  });

  it('has a limit of its own', () => {
    const limits = { ...DEFAULT_CODEC_LIMITS, maxValueBytes: 10 };
    const writer = new ValueWriter(limits);
    expect(codeThrownBy(() => writer.writeValue('x'.repeat(11)))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => writer.writeValue('ß'.repeat(6)))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => writer.writeValue(new Uint8Array(11)))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => writer.writeValue(new TaggedValue('json', new Uint8Array(11))))).toBe(
      'MESSAGE_TOO_LARGE',
    );
    writer.writeValue('ß'.repeat(5));
    writer.writeValue('x'.repeat(10));
    expect(codeThrownBy(() => new ValueReader(write('x'.repeat(11)), limits).readValue())).toBe(
      'MESSAGE_TOO_LARGE',
    );
    expect(codeThrownBy(() => new ValueReader(write(new Uint8Array(11)), limits).readValue())).toBe(
      'MESSAGE_TOO_LARGE',
    );
  });

  it('gives tags numbers that never change', () => {
    expect(Object.fromEntries(EXT_TYPE_OF_TAG)).toEqual({
      'raw-text': 1,
      decimal: 2,
      datetime: 3,
      json: 4,
      uuid: 5,
    });
  });

  it('leaves a decoded ExtData of an unknown type to nobody', () => {
    const unknown = new Encoder().encode(new ExtData(99, new Uint8Array([1])));
    expect(codeThrownBy(() => read(unknown))).toBe('MALFORMED_MESSAGE');
  });
});
