import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changeOf, header, record, timed } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import type { Change } from '../model/transaction.js';
import { ChangeEncoder } from './change-encoder.js';
import { decodeChanges } from './decode-changes.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';

const TABLES = [{ name: 't', columns: ['a', 'b'], key: [0] }];

function write(encoder: ChangeEncoder, change: Change): void {
  encoder.earlier(change.earlierUs ?? 0);
  if (change.op === 'insert') encoder.insert(change.table, change.row);
  else if (change.op === 'delete') encoder.delete(change.table, change.row);
  else encoder.update(change.table, change.row, change.changed, change.before);
}

const changesOfTables = header.chain(({ tables }) =>
  record({
    tables: fc.constant(tables),
    changes: fc
      .tuple(fc.array(changeOf(tables), { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 4 }))
      .map(([changes, steps]) => timed(changes, steps)),
  }),
);

describe('a transaction in parts', () => {
  it('comes back as it was, wherever it is cut', () => {
    fc.assert(
      fc.property(
        changesOfTables,
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        ({ tables, changes }, sizes) => {
          const encoder = new ChangeEncoder();
          const parts: Uint8Array[] = [];
          for (const change of changes) {
            write(encoder, change);
            const size = sizes[parts.length % sizes.length] ?? 1;
            if (encoder.byteLength >= size) {
              const part = encoder.take(size);
              expect(part.length).toBe(size);
              parts.push(part);
            }
          }
          while (encoder.byteLength > 0) parts.push(encoder.take(sizes[parts.length % sizes.length] ?? 1));
          expect(encoder.take(10)).toStrictEqual(new Uint8Array());
          expect([...decodeChanges(parts, tables)]).toStrictEqual(changes);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('may have empty parts, or none', () => {
    const encoder = new ChangeEncoder();
    encoder.insert(0, [1n, 'x']);
    const body = encoder.take(1000);
    const empty = new Uint8Array();
    expect([...decodeChanges([], TABLES)]).toEqual([]);
    expect([...decodeChanges([empty], TABLES)]).toEqual([]);
    expect([...decodeChanges([empty, body.subarray(0, 2), empty, body.subarray(2), empty], TABLES)]).toEqual([
      { op: 'insert', table: 0, row: [1n, 'x'] },
    ]);
  });

  it('takes one huge value through many parts in linear time', () => {
    const encoder = new ChangeEncoder();
    const blob = new Uint8Array(20_000_000).fill(3);
    encoder.insert(0, [1n, blob]);
    encoder.delete(0, [2n, null]);
    const parts: Uint8Array[] = [];
    while (encoder.byteLength > 0) parts.push(encoder.take(16_384));
    const [first, second] = [...decodeChanges(parts, TABLES)];
    expect(Buffer.compare(first?.row[1] as Uint8Array, blob)).toBe(0);
    expect(second).toEqual({ op: 'delete', table: 0, row: [2n, null] });
  });

  it('gives changes whose bytes do not change when later parts are read', () => {
    const encoder = new ChangeEncoder();
    for (let i = 0; i < 200; i++) encoder.insert(0, [BigInt(i), new Uint8Array(50).fill(i)]);
    const parts: Uint8Array[] = [];
    while (encoder.byteLength > 0) parts.push(encoder.take(77));
    [...decodeChanges(parts, TABLES)].forEach((change, i) => {
      expect(change.row[1]).toStrictEqual(new Uint8Array(50).fill(i));
    });
  });

  it('reads a part only when its changes are asked for', () => {
    const encoder = new ChangeEncoder();
    for (let i = 0; i < 10; i++) encoder.insert(0, [BigInt(i), 'x']);
    let taken = 0;
    function* parts(): Iterable<Uint8Array> {
      while (encoder.byteLength > 0) {
        taken++;
        yield encoder.take(12);
      }
    }
    for (const change of decodeChanges(parts(), TABLES)) {
      expect(change.op).toBe('insert');
      break;
    }
    expect(taken).toBe(1);
  });

  it('is refused when its end is missing', () => {
    const encoder = new ChangeEncoder();
    encoder.insert(0, [1n, 'x']);
    const body = encoder.take(1000);
    expect(codeThrownBy(() => [...decodeChanges([body.subarray(0, -1)], TABLES)])).toBe('MALFORMED_MESSAGE');
  });

  it('is refused when a change is wrong', () => {
    const wrong = [
      '92009201', // two fields
      '9301009201a178', // no such table
      '9300039201a178', // no such operation
      '930000930102a178', // too many values
      '9500009201a178909090', // an insert with the fields of an update
      '9300019201a178', // an update without its fields
      '9500019201a1789102910a', // a changed column that is not there
      '9500019201a178910191', // cut
      '9500019201a178910190', // fewer old values than changed columns
      '9500019201a1789100910a', // the primary key changes
      '9500019201a178920101920a0b', // changed columns are not ascending
      '93000092019101', // an array as a value
      '9300009201c1', // no MessagePack
      'a178', // no array
    ];
    for (const each of wrong) {
      expect([each, codeThrownBy(() => [...decodeChanges([Buffer.from(each, 'hex')], TABLES)])]).toContain(
        'MALFORMED_MESSAGE',
      );
    }
  });

  it('keeps the limits of a value and of a change', () => {
    const encoder = new ChangeEncoder();
    encoder.insert(0, ['x'.repeat(600), 'y'.repeat(600)]);
    const body = encoder.take(10_000);
    const parts = [body.subarray(0, 900), body.subarray(900)];
    const values = { ...DEFAULT_CODEC_LIMITS, maxValueBytes: 500 };
    expect(codeThrownBy(() => [...decodeChanges(parts, TABLES, values)])).toBe('MESSAGE_TOO_LARGE');
    const changes = { ...DEFAULT_CODEC_LIMITS, maxChangeBytes: 800 };
    expect(codeThrownBy(() => [...decodeChanges(parts, TABLES, changes)])).toBe('MESSAGE_TOO_LARGE');
    expect(codeThrownBy(() => new ChangeEncoder(changes).insert(0, ['x'.repeat(600), 'y'.repeat(600)]))).toBe(
      'MESSAGE_TOO_LARGE',
    );
    const refusing = new ChangeEncoder(values);
    expect(codeThrownBy(() => refusing.insert(0, [1n, 'x'.repeat(501)]))).toBe('MESSAGE_TOO_LARGE');
    expect(refusing.byteLength).toBe(0);
  });
});
