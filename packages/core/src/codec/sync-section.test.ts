import { decode as theirDecode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupBatch, plainBatch } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import type { BatchHeader, SyncSection } from '../model/transaction.js';
import { BatchEncoder } from './batch-encoder.js';
import { decodeBatches, summarize } from './decode-batches.js';
import { encodeBatch, encodePart } from './encode-batch.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';
import { syncLength } from './sync-section.js';

const header: BatchHeader = {
  origin: 'eu-1',
  firstCounter: 7,
  epoch: 1,
  time: 1_700_000_000_000_000,
  context: {},
  schemaVersion: 1,
  tables: [{ name: 'orders', columns: ['id', 'note'], key: [0] }],
};

const sync: SyncSection = { token: 'x7Kq', readSeq: 300, reply: 'acks.eu-1', claims: [[2, 5]] };

function encoderOfOne(limits = DEFAULT_CODEC_LIMITS): BatchEncoder {
  const encoder = new BatchEncoder(limits);
  encoder.begin(header);
  encoder.transaction(0);
  encoder.insert(0, [1n, 'x']);
  return encoder;
}

describe('a synchronous group', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(groupBatch, (input) => {
        const data = encodeBatch(input);
        expect(decodeBatches(data)).toStrictEqual([input]);
        expect(summarize(data)[0]?.sync).toStrictEqual(input.sync);
      }),
      { numRuns: 300 },
    );
  });

  it('is a MessagePack array of 12 for every other reader: version 1 with a section behind it', () => {
    fc.assert(
      fc.property(groupBatch, (input) => {
        const fields = theirDecode(encodeBatch(input)) as unknown[];
        expect(fields).toHaveLength(12);
        expect(fields[0]).toBe(2);
        const { token, readSeq, reply, claims } = input.sync;
        expect(fields[11]).toEqual([token, readSeq, reply ?? null, claims]);
        const { sync: _, ...plain } = input;
        expect(fields.slice(1, 11)).toEqual((theirDecode(encodeBatch(plain)) as unknown[]).slice(1));
      }),
      { numRuns: 100 },
    );
  });

  it('adds exactly what syncLength says', () => {
    fc.assert(
      fc.property(groupBatch, (input) => {
        const { sync: section, ...plain } = input;
        expect(encodeBatch(input).length - encodeBatch(plain).length).toBe(syncLength(section));
      }),
      { numRuns: 200 },
    );
    const lists = [0, 15, 16, 65_535, 65_536].map((length) => new Array<number>(length).fill(0));
    for (const list of lists) {
      const section = { ...sync, claims: [list] };
      const grown = encoderOfOne().finish(section).length - encoderOfOne().finish().length;
      expect(grown).toBe(syncLength(section));
    }
  });

  it('has its message to itself', () => {
    fc.assert(
      fc.property(groupBatch, plainBatch, (group, other) => {
        const one = encodeBatch(group);
        const two = encodeBatch({ ...other, origin: group.origin });
        for (const data of [
          Buffer.concat([one, two]),
          Buffer.concat([two, one]),
          Buffer.concat([one, one]),
        ]) {
          expect(codeThrownBy(() => decodeBatches(data))).toBe('MALFORMED_MESSAGE');
          expect(codeThrownBy(() => summarize(data))).toBe('MALFORMED_MESSAGE');
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is never part of a transaction', () => {
    const part = encodePart(header, 0, true, new Uint8Array());
    const tail = encoderOfOne().finish(sync).subarray(-syncLength(sync));
    const data = Buffer.concat([part, tail]);
    data[0] = 0x9c;
    data[1] = 2;
    expect(codeThrownBy(() => decodeBatches(data))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => summarize(data))).toBe('MALFORMED_MESSAGE');
  });

  it('can be read out of the middle of a larger buffer', () => {
    const data = encoderOfOne().finish(sync);
    const larger = Buffer.concat([Buffer.alloc(13, 0xff), data, Buffer.alloc(5, 0xff)]);
    expect(summarize(larger.subarray(13, 13 + data.length))[0]?.sync).toStrictEqual(sync);
  });
});

describe('a sync section that no reader would accept', () => {
  const wrong: Partial<Record<keyof SyncSection, unknown>>[] = [
    ...['', 'a-b', 'a b', 'ä', 'x'.repeat(41)].map((token) => ({ token })),
    ...[-1, 0.5, NaN, 2 ** 53].map((readSeq) => ({ readSeq })),
    ...['', '.', 'a.', '.a', 'a..b', 'a.*', '>', 'a b', 'a\n', 'a\0', 'ä', 'x'.repeat(256)].map((reply) => ({
      reply,
    })),
    ...[[], [[], []], [[-1]], [[0.5]], [[2 ** 53]]].map((claims) => ({ claims })),
  ];

  it.each(wrong.map((each) => [JSON.stringify(each).slice(0, 60), each] as const))(
    'is not written: %s',
    (_, each) => {
      const encoder = encoderOfOne();
      const bad = { ...sync, ...each } as SyncSection;
      expect(codeThrownBy(() => encoder.finish(bad))).toBe('MALFORMED_MESSAGE');
      // Nothing of it is left behind.
      expect(encoder.finish(sync)).toEqual(encoderOfOne().finish(sync));
    },
  );

  it('is not written with more claims or bytes than the limits', () => {
    const limits = { ...DEFAULT_CODEC_LIMITS, maxClaims: 3, maxMessageBytes: 120 };
    const encoder = encoderOfOne(limits);
    expect(codeThrownBy(() => encoder.finish({ ...sync, claims: [[1, 2, 3, 4]] }))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => encoder.finish({ ...sync, reply: 'x'.repeat(99) }))).toBe('MESSAGE_TOO_LARGE');
    expect(encoder.finish({ ...sync, claims: [[1, 2, 3]] }).length).toBeLessThanOrEqual(120);
  });

  it('is not read with more claims or transactions than the limits', () => {
    const encoder = encoderOfOne();
    encoder.transaction(0);
    const data = encoder.finish({ ...sync, claims: [[1, 2], [3]] });
    for (const limit of [{ maxClaims: 2 }, { maxTransactions: 1 }]) {
      const limits = { ...DEFAULT_CODEC_LIMITS, ...limit };
      expect(codeThrownBy(() => decodeBatches(data, limits))).toBe('MESSAGE_TOO_LARGE');
      expect(codeThrownBy(() => summarize(data, limits))).toBe('MESSAGE_TOO_LARGE');
    }
    expect(decodeBatches(data, { ...DEFAULT_CODEC_LIMITS, maxClaims: 3 })).toHaveLength(1);
  });
});
