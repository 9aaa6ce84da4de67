import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batch, changeOf, header, syncSection } from '../../test/arbitrary-batch.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import type { Batch } from '../model/transaction.js';
import { BatchEncoder } from './batch-encoder.js';
import { decodeControl, encodeControl } from './control.js';
import { decodeBatches, summarize } from './decode-batches.js';
import { decodeChanges } from './decode-changes.js';
import { encodeBatch } from './encode-batch.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';
import { syncLength } from './sync-section.js';

const ALLOWED = new Set(['MALFORMED_MESSAGE', 'UNSUPPORTED_FORMAT', 'MESSAGE_TOO_LARGE']);

/** What it returns, or undefined when it refused; anything but an honest refusal fails the test. */
function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof AntiphonError && ALLOWED.has(error.code)) return undefined;
    throw error;
  }
}

/**
 * Whatever is accepted must be a batch that can be written and read again: nothing half-read gets
 * through.
 */
function mustBeSound(batches: readonly Batch[] | undefined): void {
  for (const each of batches ?? []) expect(decodeBatches(encodeBatch(each))).toStrictEqual([each]);
}

function readEverything(data: Uint8Array): void {
  mustBeSound(attempt(() => decodeBatches(data)));
  attempt(() => summarize(data));
  attempt(() => decodeControl(data));
  attempt(() => [...decodeChanges([data], TABLES)]);
}

const TABLES = [{ name: 't', columns: ['a', 'b'], key: [0] }];

/** Two small transactions with every operation. */
function encoderOfTwo(): BatchEncoder {
  const encoder = new BatchEncoder();
  encoder.begin({
    origin: 'eu-1',
    firstCounter: 7,
    epoch: 1,
    time: 1_700_000_000_000_000,
    context: { 'eu-1': 6 },
    schemaVersion: 1,
    tables: TABLES,
  });
  encoder.transaction(0);
  encoder.insert(0, [1n, 'text']);
  encoder.update(0, [1n, 2.5], [1], ['text']);
  encoder.transaction(9);
  encoder.delete(0, [1n, new Uint8Array([1, 2])]);
  return encoder;
}

/** Bytes that look like MessagePack more often than chance would have it. */
const likelyBytes = fc
  .array(
    fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 3 }),
      fc
        .constantFrom(
          0x80,
          0x81,
          0x90,
          0x91,
          0x92,
          0x93,
          0x95,
          0x9b,
          0x9c,
          0xa1,
          0xc0,
          0xc4,
          0xc6,
          0xcb,
          0xcf,
          0xd4,
          0xdb,
          0xdd,
          0xdf,
          0xff,
          0,
        )
        .map((code) => new Uint8Array([code])),
      fc
        .constantFrom(
          '9b01a465752d3107',
          '9c02a465752d3107',
          '94a17405c091',
          'ffffffff',
          'dd7fffffff',
          'df00ffffff',
          'c6ffffffff',
        )
        .map((hex) => Buffer.from(hex, 'hex')),
    ),
    { maxLength: 40 },
  )
  .map((pieces) => new Uint8Array(Buffer.concat(pieces)));

describe('I15: hostile input', () => {
  it('I15: random bytes are refused, or are sound', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readEverything), { numRuns: 5000 });
    fc.assert(fc.property(likelyBytes, readEverything), { numRuns: 10_000 });
  });

  it('I15: a message cut anywhere is refused', () => {
    fc.assert(
      fc.property(batch, (input) => {
        const data = encodeBatch(input);
        fc.pre(data.length < 2000);
        for (let length = 0; length < data.length; length++) {
          const cut = data.subarray(0, length);
          expect(attempt(() => decodeBatches(cut))).toBeUndefined();
          expect(attempt(() => summarize(cut))).toBeUndefined();
        }
      }),
      { numRuns: 60 },
    );
  });

  it('I15: a message with something behind it is refused, or is two', () => {
    fc.assert(
      fc.property(batch, fc.uint8Array({ minLength: 1, maxLength: 20 }), (input, tail) => {
        expect(attempt(() => decodeBatches(Buffer.concat([encodeBatch(input), tail])))).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('I15: flipped bits are refused, or give another sound message', () => {
    fc.assert(
      fc.property(
        batch,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 7 })), { minLength: 1, maxLength: 4 }),
        (input, flips) => {
          const data = encodeBatch(input).slice();
          for (const [at, bit] of flips) data[at % data.length] = (data[at % data.length] ?? 0) ^ (1 << bit);
          readEverything(data);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('I15: flipped bits in a sync section are refused, or give another sound message', () => {
    fc.assert(
      fc.property(syncSection(2), fc.nat(), fc.nat({ max: 7 }), (sync, back, bit) => {
        const data = encoderOfTwo().finish(sync);
        const at = data.length - 1 - (back % syncLength(sync));
        data[at] = (data[at] ?? 0) ^ (1 << bit);
        readEverything(data);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['a batch', undefined],
    ['a synchronous group', { token: 'x7Kq', readSeq: 300, reply: 'a.b', claims: [[1, 300], []] }],
  ])('I15: every single bit of %s', (_, sync) => {
    const data = encoderOfTwo().finish(sync);
    for (let bit = 0; bit < data.length * 8; bit++) {
      const flipped = data.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      readEverything(flipped);
    }
  });

  it('I15: changes that are malformed are refused wherever they are cut', () => {
    const input = header.chain((head) =>
      fc.tuple(fc.constant(head), fc.array(changeOf(head.tables), { maxLength: 3 })),
    );
    fc.assert(
      fc.property(
        input,
        fc.uint8Array({ maxLength: 30 }),
        fc.nat({ max: 40 }),
        ([head, changes], noise, size) => {
          const time = head.time;
          const whole = encodeBatch({
            kind: 'transactions',
            ...head,
            transactions: [{ counter: head.firstCounter, time, changes }],
          });
          const bytes = Buffer.concat([whole.subarray(-20), noise]);
          const parts: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; at += size + 1) parts.push(bytes.subarray(at, at + size + 1));
          attempt(() => [...decodeChanges(parts, head.tables)]);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('I15: a length that the bytes do not justify allocates nothing', () => {
    const claims = ['dd', 'df', 'db', 'c6', 'c9'].map((code) => `${code}ffffffff`);
    const start = '9b01a465752d310701cf00060a24181e4000';
    const places = [
      '',
      start,
      `${start}80`,
      `${start}8001`,
      `${start}800191`,
      `${start}80019193`,
      `${start}80019193a174`,
      `${start}80019193a17491a161`,
      `${start}80019193a17491a1619100`,
      `${start}80019193a17491a1619100c001`,
      ...['', '94', '94a178', '94a17801', '94a17801c0', '94a17801c091'].map(
        (sync) => `9c02a16101000080009193a17492a161a1629100c001c409920001930000920102${sync}`,
      ),
    ];
    const before = process.memoryUsage();
    for (let round = 0; round < 50; round++) {
      for (const place of places) {
        for (const claim of claims) {
          const data = Buffer.from(place + claim, 'hex');
          expect(attempt(() => decodeBatches(data))).toBeUndefined();
          expect(attempt(() => summarize(data))).toBeUndefined();
          expect(attempt(() => decodeControl(data))).toBeUndefined();
          expect(attempt(() => [...decodeChanges([data], TABLES)])).toBeUndefined();
        }
      }
    }
    const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    expect(grown).toBeLessThan(64 * 1024 * 1024);
  });

  it('I15: depth is bounded', () => {
    const deep = Buffer.alloc(100_000, 0x91);
    readEverything(deep);
    readEverything(Buffer.concat([Buffer.from('9b01a161010101', 'hex'), deep]));
    expect(attempt(() => decodeControl(deep))).toBeUndefined();
    expect(attempt(() => [...decodeChanges([deep], TABLES)])).toBeUndefined();
  });

  it('I15: a message above the limit is refused before it is read', () => {
    expect(
      attempt(() => decodeBatches(new Uint8Array(DEFAULT_CODEC_LIMITS.maxMessageBytes + 1))),
    ).toBeUndefined();
  });

  it('I15: a control message with flipped bits does no harm', () => {
    const value = { type: 'beat', at: 12, list: [1n, 'two', null, { x: new Uint8Array([1, 2, 3]) }], f: 1.5 };
    const data = encodeControl(value);
    expect(decodeControl(data)).toEqual(value);
    for (let bit = 0; bit < data.length * 8; bit++) {
      const flipped = data.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      readEverything(flipped);
    }
    for (let length = 0; length < data.length; length++) {
      expect(attempt(() => decodeControl(data.subarray(0, length)))).toBeUndefined();
    }
    expect(decodeControl(data)).toEqual(value);
  });
});
