import fc from 'fast-check';
import {
  TaggedValue,
  type Batch,
  type BatchHeader,
  type Change,
  type DictionaryTable,
  type PartBatch,
  type Row,
  type SyncSection,
  type TransactionBatch,
  type Value,
  type ValueTag,
} from '../src/index.js';

/** Records are compared strictly, so they need the prototype that a literal has. */
export function record<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

/** The forms of MessagePack change at these; properties that miss them prove little. */
const INTEGER_EDGES = [
  0,
  31,
  32,
  127,
  128,
  255,
  256,
  32_767,
  32_768,
  65_535,
  65_536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
]
  .flatMap((edge) => [BigInt(edge), BigInt(edge) - 1n, BigInt(edge) + 1n])
  .flatMap((edge) => [edge, -edge])
  .concat([2n ** 52n, -(2n ** 52n), 2n ** 52n - 1n, -(2n ** 52n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)]);

export const integer = fc.oneof(fc.constantFrom(...INTEGER_EDGES), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n));

export const float = fc.oneof(
  fc.double({ noNaN: true }),
  fc.constantFrom(0, -0, 5, -5, Infinity, -Infinity, Number.MIN_VALUE, Number.MAX_VALUE, 2 ** 53),
);

export const text = fc.oneof(
  fc.string({ unit: 'binary-ascii', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    '\0',
    'a\0b',
    '\uFFFD',
    '\uFEFFbom',
    '👩‍👩‍👧‍👦',
    'ü'.repeat(31),
    'é'.repeat(16),
    '漢'.repeat(11),
    '漢'.repeat(86),
  ),
  fc.integer({ min: 0, max: 300 }).map((length) => 'x'.repeat(length)),
  fc.integer({ min: 0, max: 300 }).map((length) => `${'x'.repeat(length)}ß`),
);

export const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(255, 256).map((length) => new Uint8Array(length)),
);

export const tagged = fc
  .tuple(
    fc.constantFrom<ValueTag>('raw-text', 'decimal', 'datetime', 'json', 'uuid'),
    fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom(1, 2, 4, 8, 16, 255, 256).map((length) => new Uint8Array(length).fill(7)),
    ),
  )
  .map(([tag, content]) => new TaggedValue(tag, content));

/** Small ones are by far the most frequent, so that whole batches stay small. */
export const value: fc.Arbitrary<Value> = fc.oneof(
  { arbitrary: fc.constant(null), weight: 2 },
  { arbitrary: fc.boolean(), weight: 1 },
  { arbitrary: integer, weight: 4 },
  { arbitrary: float, weight: 3 },
  { arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }), weight: 6 },
  { arbitrary: text, weight: 1 },
  { arbitrary: fc.uint8Array({ maxLength: 12 }), weight: 2 },
  { arbitrary: bytes, weight: 1 },
  { arbitrary: tagged, weight: 1 },
);

export const replicaId = fc.oneof(
  fc.constantFrom('eu-1', 'us_2', 'A', 'constructor', 'toString', '0', 'x'.repeat(63)),
  fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,10}$/),
);

export const vector = fc.dictionary(replicaId, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), {
  maxKeys: 4,
  noNullPrototype: true,
});

export const table: fc.Arbitrary<DictionaryTable> = fc
  .uniqueArray(fc.string({ unit: 'grapheme', maxLength: 8 }), { minLength: 1, maxLength: 5 })
  .chain((columns) =>
    record({
      name: fc.string({ unit: 'grapheme', maxLength: 12 }),
      columns: fc.constant(columns),
      key: fc.shuffledSubarray([...columns.keys()], { minLength: 1, maxLength: Math.min(2, columns.length) }),
    }),
  );

const time = fc.integer({ min: 0, max: 8_000_000_000_000_000 });

export const header: fc.Arbitrary<BatchHeader> = record({
  origin: replicaId,
  firstCounter: fc.integer({ min: 1, max: 2 ** 52 }),
  epoch: fc.integer({ min: 0, max: 2 ** 52 }),
  time,
  context: vector,
  schemaVersion: fc.integer({ min: 0, max: 2 ** 40 }),
  tables: fc.array(table, { minLength: 1, maxLength: 3 }),
});

export function changeOf(tables: readonly DictionaryTable[]): fc.Arbitrary<Change> {
  return fc.nat({ max: tables.length - 1 }).chain((index) => {
    const definition = tables[index] as DictionaryTable;
    const row: fc.Arbitrary<Row> = fc.array(value, {
      minLength: definition.columns.length,
      maxLength: definition.columns.length,
    });
    const free = [...definition.columns.keys()].filter((column) => !definition.key.includes(column));
    return fc.oneof(
      record({ op: fc.constant('insert' as const), table: fc.constant(index), row }),
      record({ op: fc.constant('delete' as const), table: fc.constant(index), row }),
      fc.subarray(free).chain((changed) =>
        record({
          op: fc.constant('update' as const),
          table: fc.constant(index),
          row,
          changed: fc.constant(changed),
          before: fc.array(value, { minLength: changed.length, maxLength: changed.length }),
        }),
      ),
    );
  });
}

/** Some of the first changes were made before the others. */
export function timed(
  changes: readonly Change[],
  steps: readonly number[],
  time = Number.MAX_SAFE_INTEGER,
): readonly Change[] {
  return changes.map((change, index) => {
    const earlierUs = Math.min(time, steps[index] ?? 0);
    return earlierUs === 0 ? change : { ...change, earlierUs };
  });
}

export const transactionBatch: fc.Arbitrary<TransactionBatch> = header.chain((head) =>
  fc
    .array(
      fc.tuple(
        fc.nat({ max: 100_000 }),
        fc.array(changeOf(head.tables), { maxLength: 4 }),
        fc.array(fc.nat({ max: 2 ** 40 }), { maxLength: 3 }),
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((steps) => {
      let at = head.time;
      const transactions = steps.map(([later, changes, earlier], index) => {
        at += later;
        return { counter: head.firstCounter + index, time: at, changes: timed(changes, earlier, at) };
      });
      return { kind: 'transactions' as const, ...head, transactions };
    }),
);

export const partBatch: fc.Arbitrary<PartBatch> = fc
  .tuple(header, fc.nat(), fc.boolean(), fc.uint8Array({ maxLength: 300 }))
  .map(([head, offset, last, body]) => ({ kind: 'part' as const, ...head, offset, last, body }));

/** May share its message with others. */
export const plainBatch: fc.Arbitrary<Batch> = fc.oneof(
  { arbitrary: transactionBatch, weight: 4 },
  { arbitrary: partBatch, weight: 1 },
);

const claim = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

const letter = fc.constantFrom(...'ABCXYZabcxyz0189');

/** For a group of so many transactions. */
export function syncSection(count: number): fc.Arbitrary<SyncSection> {
  const always = record({
    token: fc.string({ unit: letter, minLength: 1, maxLength: 40 }),
    readSeq: fc.maxSafeNat(),
    claims: fc.array(fc.array(claim, { maxLength: 20 }), { minLength: count, maxLength: count }),
  });
  const reply = fc.oneof(
    fc.constantFrom('a', '_INBOX.x.1', 'antiphon.shop.acks.eu-1', 'x'.repeat(255), '$JS.ACK/1=2'),
    fc
      .array(fc.string({ unit: letter, minLength: 1, maxLength: 9 }), { minLength: 1, maxLength: 4 })
      .map((tokens) => tokens.join('.')),
  );
  return fc
    .tuple(always, fc.option(reply, { nil: undefined }))
    .map(([section, subject]) => (subject === undefined ? section : { ...section, reply: subject }));
}

/** A synchronous group. */
export const groupBatch = transactionBatch.chain((plain) =>
  syncSection(plain.transactions.length).map((sync) => ({ ...plain, sync })),
);

export const batch: fc.Arbitrary<Batch> = fc.oneof(
  { arbitrary: plainBatch, weight: 5 },
  { arbitrary: groupBatch, weight: 2 },
);
