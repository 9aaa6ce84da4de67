import { decode as theirDecode, decodeMulti } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batch, partBatch, plainBatch, transactionBatch } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { MAX_HYBRID_TIME } from '../clocks/hybrid-clock.js';
import type { BatchHeader, TransactionBatch } from '../model/transaction.js';
import { BatchEncoder } from './batch-encoder.js';
import { decodeBatches, summarize } from './decode-batches.js';
import { encodeBatch, encodePart } from './encode-batch.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';

const header: BatchHeader = {
  origin: 'eu-1',
  firstCounter: 7,
  epoch: 1,
  time: 1_700_000_000_000_000,
  context: { 'eu-1': 6, 'eu-2': 3 },
  schemaVersion: 1,
  tables: [{ name: 'orders', columns: ['id', 'note'], key: [0] }],
};

function encoderWith(transactions: number, changesEach = 1): BatchEncoder {
  const encoder = new BatchEncoder();
  encoder.begin(header);
  for (let i = 0; i < transactions; i++) {
    encoder.transaction(i);
    for (let k = 0; k < changesEach; k++) encoder.insert(0, [BigInt(k), 'x']);
  }
  return encoder;
}

describe('a batch', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(batch, (input) => {
        expect(decodeBatches(encodeBatch(input))).toStrictEqual([input]);
      }),
      { numRuns: 400 },
    );
  });

  it('is the same bytes when written again', () => {
    fc.assert(
      fc.property(batch, (input) => {
        const data = encodeBatch(input);
        const [back] = decodeBatches(data);
        expect(back && Buffer.compare(encodeBatch(back), data)).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it('is the same bytes whatever the order of its context', () => {
    const turned = { ...header, context: { 'eu-2': 3, 'eu-1': 6 } };
    expect(encodePart(turned, 0, true, new Uint8Array())).toEqual(
      encodePart(header, 0, true, new Uint8Array()),
    );
  });

  it('is a MessagePack array of 11 for every other reader', () => {
    fc.assert(
      fc.property(transactionBatch, (input) => {
        const fields = theirDecode(encodeBatch(input), { useBigInt64: true }) as unknown[];
        expect(fields).toHaveLength(11);
        expect(fields[0]).toBe(1);
        expect(fields[1]).toBe(input.origin);
        expect(fields[8]).toBe(null);
        expect(fields[9]).toBe(input.transactions.length);
        const items = [...decodeMulti(fields[10] as Uint8Array, { useBigInt64: true })];
        expect(items).toHaveLength(
          input.transactions.reduce((sum, each) => sum + 1 + each.changes.length, 0),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('shares its message with others of its origin', () => {
    fc.assert(
      fc.property(fc.array(plainBatch, { minLength: 1, maxLength: 4 }), (inputs) => {
        const origin = inputs[0]?.origin ?? '';
        const all = inputs.map((each) => ({ ...each, origin }));
        expect(decodeBatches(Buffer.concat(all.map((each) => encodeBatch(each))))).toStrictEqual(all);
      }),
      { numRuns: 60 },
    );
  });

  it('does not share its message with other origins', () => {
    const one = encodePart(header, 0, true, new Uint8Array());
    const other = encodePart({ ...header, origin: 'eu-2' }, 0, true, new Uint8Array());
    expect(codeThrownBy(() => decodeBatches(Buffer.concat([one, other])))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => summarize(Buffer.concat([one, other])))).toBe('MALFORMED_MESSAGE');
  });

  it('is summarized as it is', () => {
    fc.assert(
      fc.property(batch, (input) => {
        const { kind, origin, firstCounter, epoch, time, schemaVersion } = input;
        const count = input.kind === 'part' ? 1 : input.transactions.length;
        const part =
          input.kind === 'part'
            ? { offset: input.offset, last: input.last, bytes: input.body.length }
            : { offset: 0, last: true, bytes: expect.any(Number) as number };
        expect(summarize(encodeBatch(input))).toStrictEqual([
          {
            kind,
            origin,
            firstCounter,
            lastCounter: firstCounter + count - 1,
            ...part,
            epoch,
            time,
            schemaVersion,
            ...(input.kind === 'transactions' && input.sync !== undefined ? { sync: input.sync } : {}),
          },
        ]);
      }),
      { numRuns: 200 },
    );
  });

  it('can be read out of the middle of a larger buffer, whose bytes its parts are views of', () => {
    fc.assert(
      fc.property(partBatch, (input) => {
        const data = encodeBatch(input);
        const larger = Buffer.concat([Buffer.alloc(13, 0xff), data, Buffer.alloc(5, 0xff)]);
        const [back] = decodeBatches(larger.subarray(13, 13 + data.length));
        expect(back).toStrictEqual(input);
        expect(back?.kind === 'part' && back.body.buffer).toBe(larger.buffer);
      }),
      { numRuns: 50 },
    );
  });

  it('gives the same dictionary object for the same bytes, frozen', () => {
    const [one] = decodeBatches(encodePart(header, 0, true, new Uint8Array()));
    const [two] = decodeBatches(encodePart({ ...header, firstCounter: 8 }, 0, true, new Uint8Array()));
    expect(two?.tables).toBe(one?.tables);
    expect(Object.isFrozen(one?.tables)).toBe(true);
    expect(Object.isFrozen(one?.tables[0]?.columns)).toBe(true);
  });

  it('keeps dictionaries apart, however many there are', () => {
    const headers = Array.from({ length: 30 }, (_, i) => ({
      ...header,
      tables: [{ name: `table ${i}`, columns: ['id'], key: [0] }],
    }));
    for (const each of [...headers, ...headers]) {
      expect(decodeBatches(encodePart(each, 0, true, new Uint8Array()))[0]?.tables).toEqual(each.tables);
    }
  });
});

describe('BatchEncoder', () => {
  it('writes what encodeBatch writes, again and again with the same buffers', () => {
    const encoder = new BatchEncoder();
    fc.assert(
      fc.property(transactionBatch, (input) => {
        encoder.begin(input);
        for (const transaction of input.transactions) {
          encoder.transaction(transaction.time - input.time);
          for (const change of transaction.changes) {
            encoder.earlier(change.earlierUs ?? 0);
            if (change.op === 'insert') encoder.insert(change.table, change.row);
            else if (change.op === 'delete') encoder.delete(change.table, change.row);
            else encoder.update(change.table, change.row, change.changed, change.before);
          }
        }
        expect(encoder.transactions).toBe(input.transactions.length);
        expect(encoder.changes).toBe(input.transactions.reduce((sum, each) => sum + each.changes.length, 0));
        const bound = encoder.byteLength;
        const data = encoder.finish();
        expect(data.length).toBeLessThanOrEqual(bound);
        expect(bound - data.length).toBeLessThanOrEqual(20);
        expect(Buffer.compare(data, encodeBatch(input))).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('counts changes in every form of an integer', () => {
    for (const changes of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const encoder = encoderWith(1, changes);
      encoder.transaction(1);
      for (let i = 0; i < 3; i++) encoder.insert(0, [1n, 'x']);
      const bound = encoder.byteLength;
      const data = encoder.finish();
      expect(bound).toBeGreaterThanOrEqual(data.length);
      const [back] = decodeBatches(data) as readonly TransactionBatch[];
      expect(back?.transactions.map((each) => each.changes.length)).toEqual([changes, 3]);
    }
  });

  it('leaves nothing behind of a change that it refused', () => {
    const encoder = encoderWith(1);
    const wrong: (() => void)[] = [
      () => encoder.insert(0, [1n, NaN]),
      () => encoder.insert(0, [1n, '\uD800']),
      () => encoder.insert(0, [1n]),
      () => encoder.insert(1, [1n, 'x']),
      () => encoder.insert(-1, [1n, 'x']),
      () => encoder.delete(0, [1n, 2n ** 64n]),
      () => encoder.update(0, [1n, 'x'], [1], [NaN]),
      () => encoder.update(0, [1n, 'x'], [1], []),
      () => encoder.update(0, [1n, 'x'], [2], ['y']),
      () => encoder.update(0, [1n, 'x'], [0], [2n]),
      () => encoder.update(0, [1n, 'x'], [1, 1], ['y', 'y']),
      () => encoder.transaction(-1),
      () => encoder.transaction(0.5),
      () => encoder.transaction(MAX_HYBRID_TIME),
    ];
    for (const each of wrong) expect(codeThrownBy(each)).toBe('MALFORMED_MESSAGE');
    expect(encoder.changes).toBe(1);
    expect(encoder.finish()).toEqual(encoderWith(1).finish());
  });

  it('refuses times that go back: a later transaction would lose against an earlier one', () => {
    const encoder = encoderWith(1);
    encoder.transaction(5);
    expect(codeThrownBy(() => encoder.transaction(4))).toBe('MALFORMED_MESSAGE');
    encoder.transaction(5);
    expect(encoder.transactions).toBe(3);
  });

  it('drops the transaction begun last', () => {
    const encoder = encoderWith(2, 3);
    encoder.transaction(100);
    encoder.insert(0, [1n, 'x']);
    encoder.dropTransaction();
    expect(codeThrownBy(() => encoder.insert(0, [1n, 'x']))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => encoder.dropTransaction())).toBe('MALFORMED_MESSAGE');
    expect([encoder.transactions, encoder.changes]).toEqual([2, 6]);
    encoder.transaction(2);
    for (let i = 0; i < 3; i++) encoder.insert(0, [BigInt(i), 'x']);
    expect(encoder.finish()).toEqual(encoderWith(3, 3).finish());
  });

  it('takes tables that are only found out on the way', () => {
    const encoder = new BatchEncoder();
    encoder.begin({ ...header, tables: [] });
    encoder.transaction(0);
    const table = encoder.addTable(header.tables[0] as BatchHeader['tables'][number]);
    encoder.insert(table, [0n, 'x']);
    expect(encoder.finish()).toEqual(encoderWith(1).finish());
    // A dictionary that grew is not mistaken for the one it grew from.
    const tables = header.tables;
    encoder.begin({ ...header, tables });
    encoder.addTable({ name: 'other', columns: ['id'], key: [0] });
    encoder.begin({ ...header, tables });
    encoder.transaction(0);
    encoder.insert(0, [0n, 'x']);
    expect(encoder.finish()).toEqual(encoderWith(1).finish());
  });

  it('refuses a header that no reader would accept', () => {
    const wrong: Partial<BatchHeader>[] = [
      { origin: '' },
      { origin: 'a.b' },
      { origin: '-a' },
      { origin: 'x'.repeat(64) },
      { firstCounter: 0 },
      { firstCounter: 1.5 },
      { firstCounter: 2 ** 53 },
      { epoch: -1 },
      { time: -1 },
      { time: MAX_HYBRID_TIME + 1 },
      { schemaVersion: NaN },
      { context: { 'eu-1': 0 } },
      { context: { 'a.b': 1 } },
      { tables: [{ name: 't', columns: [], key: [] }] },
      { tables: [{ name: 't', columns: ['a'], key: [] }] },
      { tables: [{ name: 't', columns: ['a'], key: [1] }] },
      { tables: [{ name: 't', columns: ['a'], key: [0, 0] }] },
      { tables: [{ name: 't', columns: ['a', 'a'], key: [0] }] },
      { tables: [{ name: 't'.repeat(1025), columns: ['a'], key: [0] }] },
      { tables: [{ name: 't', columns: ['ß'.repeat(513)], key: [0] }] },
    ];
    for (const each of wrong) {
      const bad = { ...header, ...each };
      expect([each, codeThrownBy(() => new BatchEncoder().begin(bad))]).toContain('MALFORMED_MESSAGE');
      expect([each, codeThrownBy(() => encodePart(bad, 0, true, new Uint8Array()))]).toContain(
        'MALFORMED_MESSAGE',
      );
    }
  });

  it('works on after a header that it refused', () => {
    const encoder = new BatchEncoder();
    codeThrownBy(() => encoder.begin({ ...header, tables: [{ name: 't', columns: [], key: [] }] }));
    expect(codeThrownBy(() => encoder.transaction(0))).toBe('MALFORMED_MESSAGE');
    encoder.begin(header);
    encoder.transaction(0);
    encoder.insert(0, [0n, 'x']);
    expect(encoder.finish()).toEqual(encoderWith(1).finish());
  });

  it('must be begun, and not finished empty', () => {
    const encoder = new BatchEncoder();
    expect(codeThrownBy(() => encoder.finish())).toBe('MALFORMED_MESSAGE');
    encoder.begin(header);
    expect(codeThrownBy(() => encoder.insert(0, [1n, 'x']))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => encoder.finish())).toBe('MALFORMED_MESSAGE');
    encoder.transaction(0);
    encoder.finish();
    expect(codeThrownBy(() => encoder.finish())).toBe('MALFORMED_MESSAGE');
  });

  it('keeps every limit', () => {
    const limits = {
      ...DEFAULT_CODEC_LIMITS,
      maxTransactions: 2,
      maxChanges: 2,
      maxTables: 1,
      maxChangeBytes: 50,
      maxMessageBytes: 120,
      maxOrigins: 2,
    };
    const encoder = new BatchEncoder(limits);
    encoder.begin(header);
    expect(codeThrownBy(() => encoder.addTable({ name: 'u', columns: ['a'], key: [0] }))).toBe(
      'MESSAGE_TOO_LARGE',
    );
    encoder.transaction(0);
    expect(codeThrownBy(() => encoder.insert(0, [1n, 'x'.repeat(50)]))).toBe('MESSAGE_TOO_LARGE');
    encoder.insert(0, [1n, 'x'.repeat(30)]);
    encoder.transaction(0);
    encoder.insert(0, [1n, 'x'.repeat(30)]);
    expect(codeThrownBy(() => encoder.insert(0, [1n, 'x']))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => encoder.transaction(0))).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => encoder.finish())).toBe('MESSAGE_TOO_LARGE');
    encoder.dropTransaction();
    expect(encoder.finish().length).toBeLessThanOrEqual(120);
    expect(codeThrownBy(() => encoder.begin({ ...header, context: { a: 1, b: 1, c: 1 } }))).toBe(
      'MESSAGE_TOO_LARGE',
    );
    expect(codeThrownBy(() => encodePart(header, 0, true, new Uint8Array(150), limits))).toBe(
      'MESSAGE_TOO_LARGE',
    );
  });
});

describe('encodeBatch', () => {
  it('refuses counters that are not consecutive', () => {
    const gap = {
      kind: 'transactions' as const,
      ...header,
      transactions: [{ counter: 8, time: header.time, changes: [] }],
    };
    expect(codeThrownBy(() => encodeBatch(gap))).toBe('MALFORMED_MESSAGE');
  });

  it('refuses a part without an offset', () => {
    expect(codeThrownBy(() => encodePart(header, -1, true, new Uint8Array()))).toBe('MALFORMED_MESSAGE');
    expect(codeThrownBy(() => encodePart(header, 0.5, true, new Uint8Array()))).toBe('MALFORMED_MESSAGE');
  });
});
