import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChangeEncoder } from '../codec/change-encoder.js';
import { encodeBatch, encodePart } from '../codec/encode-batch.js';
import { BatchOrder } from '../decisions/batch-order.js';
import { firstEpoch } from '../decisions/epoch.js';
import type { BatchHeader, DictionaryTable } from '../model/transaction.js';
import type { LogEntry } from '../ports/log.js';
import { decodeCursor, encodeCursor, readFrom, type ChangeCursor } from './change-cursor.js';
import { ChangeStream, type ChangeStreamDeps } from './change-stream.js';
import type { LoggedChange } from './committed-change.js';

const TABLES: readonly DictionaryTable[] = [{ name: 't', columns: ['id', 'v'], key: [0] }];
const START: ChangeCursor = { generation: 'g', seq: 1, vector: {}, inside: {} };

/** An entry, and which of its transactions certification rejected. */
interface Stored extends LogEntry {
  readonly rejected: readonly number[];
}

type Message = Pick<Stored, 'origin' | 'data' | 'rejected'>;

function headerOf(origin: string, firstCounter: number, tables = TABLES): BatchHeader {
  return { origin, firstCounter, epoch: 0, time: 1_000_000, context: {}, schemaVersion: 1, tables };
}

function insertsOf(counter: number, count: number): { op: 'insert'; table: number; row: [bigint, string] }[] {
  return Array.from({ length: count }, (_, n) => ({
    op: 'insert',
    table: 0,
    row: [BigInt(counter * 100 + n), 'x'.repeat(8)],
  }));
}

function wholeOf(
  origin: string,
  firstCounter: number,
  sizes: readonly number[],
  rejected?: readonly boolean[],
): Message {
  const transactions = sizes.map((size, index) => {
    const counter = firstCounter + index;
    return { counter, time: 1_000_000 + counter, changes: insertsOf(counter, size) };
  });
  const sync = { token: `T${firstCounter}`, readSeq: 0, claims: sizes.map(() => []) };
  const data = encodeBatch({
    ...{ kind: 'transactions', ...headerOf(origin, firstCounter), transactions },
    ...(rejected && { sync }),
  });
  const counters = transactions.map(({ counter }) => counter);
  return { origin, data, rejected: counters.filter((_, index) => rejected?.[index] === true) };
}

function partsOf(
  origin: string,
  counter: number,
  size: number,
  bytes: number,
  tables = TABLES,
  time = 1_000_000,
): Message[] {
  const encoder = new ChangeEncoder();
  for (const { row } of insertsOf(counter, size)) encoder.insert(0, row);
  const bodies: Uint8Array[] = [];
  while (encoder.byteLength > 0) bodies.push(encoder.take(bytes));
  const header = { ...headerOf(origin, counter, tables), time };
  return bodies.map((body, index) => {
    const data = encodePart(header, index * bytes, index === bodies.length - 1, body);
    return { origin, data, rejected: [] };
  });
}

function logOf(messages: readonly Message[]): Stored[] {
  return messages.map((message, index) => ({ ...message, seq: index + 1, storedAtMs: 5000 + index / 8 }));
}

function streamFrom(start: ChangeCursor, deps: Partial<ChangeStreamDeps> = {}): ChangeStream {
  return new ChangeStream(start, {
    rules: () => undefined,
    isMember: () => true,
    epochAt: () => firstEpoch(undefined),
    keptBytes: 1_000_000,
    tooLargeHint: '',
    isCommitted: () => true,
    judgesCauses: true,
    ...deps,
  });
}

interface Read {
  readonly changes: LoggedChange[];
  /** After the last change of each entry: how many changes came before it, and the place there. */
  readonly places: (readonly [count: number, place: ChangeCursor])[];
}

function read(
  log: readonly Stored[],
  start = START,
  isWanted = (): boolean => true,
  deps: Partial<ChangeStreamDeps> = {},
): Read {
  const stream = streamFrom(start, deps);
  const result: Read = { changes: [], places: [] };
  for (const entry of log.slice(readFrom(start) - 1)) {
    result.changes.push(...stream.changesIn(entry, entry.rejected, isWanted));
    result.places.push([result.changes.length, stream.placeAfter(entry.seq)]);
  }
  return result;
}

const nameOf = ({ id, key }: LoggedChange): string => `${id.origin}:${id.counter}/${String(key['id'])}`;

/** What an origin says, one message after the other. */
function messagesOf(origin: string): fc.Arbitrary<readonly Message[]> {
  const sizes = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 2 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant('plain' as const), sizes }),
    fc.record({
      kind: fc.constant('group' as const),
      sizes,
      rejected: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant('parts' as const), size: fc.integer({ min: 3, max: 6 }) }),
  );
  return fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => {
    let counter = 1;
    return steps.flatMap((one) => {
      const first = counter;
      counter += one.kind === 'parts' ? 1 : one.sizes.length;
      if (one.kind === 'parts') return partsOf(origin, first, one.size, 30);
      return [wholeOf(origin, first, one.sizes, one.kind === 'group' ? one.rejected : undefined)];
    });
  });
}

/** Lost, repeated and overtaken messages of three origins; in the end everything comes. */
const randomLog: fc.Arbitrary<readonly Stored[]> = fc
  .tuple(
    fc.tuple(...['a', 'b', 'constructor'].map(messagesOf)),
    fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 3 })), { minLength: 4, maxLength: 16 }),
    fc.array(fc.nat({ max: 2 }), { minLength: 8, maxLength: 8 }),
  )
  .map(([origins, trouble, order]) => {
    const early = trouble.flatMap(([origin, at]) => (origins[origin] ?? []).slice(at, at + 1));
    const left = origins.map((messages) => [...messages]);
    const late: Message[] = [];
    const turns = [...order, ...left.keys()];
    for (let turn = 0; left.some((messages) => messages.length > 0); turn++)
      late.push(...(left[turns[turn % turns.length]!] ?? []).splice(0, 1));
    return logOf([...early, ...late]);
  });

/** In the order of each origin: what was sent again may come earlier for one who reads it later. */
function byOrigin(changes: readonly LoggedChange[]): Record<string, string[]> {
  const names: Record<string, string[]> = {};
  for (const change of changes) (names[`of ${change.id.origin}`] ??= []).push(nameOf(change));
  return names;
}

describe('a stream of changes', () => {
  it('I16: goes on at every cursor and every place with exactly the rest', () => {
    const property = fc.property(randomLog, fc.nat(), (log, chosen) => {
      const { changes, places } = read(log);
      const cursors = changes.map(({ cursor }, index) => [index + 1, decodeCursor(cursor)] as const);
      for (const [count, place] of [...cursors, ...places]) {
        const rest = read(log, place);
        expect(byOrigin(rest.changes)).toEqual(byOrigin(changes.slice(count)));
        if (rest.changes.length === 0) continue;
        const again = chosen % rest.changes.length;
        const { changes: last } = read(log, decodeCursor(rest.changes[again]!.cursor));
        expect(byOrigin(last)).toEqual(byOrigin(rest.changes.slice(again + 1)));
        expect(decodeCursor(encodeCursor(place))).toEqual(place);
      }
    });
    fc.assert(property, { numRuns: 100 });
  });

  it('I16: goes on within a transaction, though another one comes first when it reads again', () => {
    const [first, ...others] = partsOf('big', 1, 10, 40);
    const log = logOf([
      first!,
      wholeOf('c', 2, [5]),
      wholeOf('c', 1, [2]),
      wholeOf('d', 1, [5]),
      wholeOf('c', 2, [5]),
      ...others,
    ]);
    const { changes } = read(log);
    expect(changes).toHaveLength(22);
    const third = changes.findIndex(({ id }) => id.origin === 'd') + 2;
    const place = decodeCursor(changes[third]!.cursor);
    const { open, ...ofAnOldBuild } = place;
    expect(open).toEqual({ big: expect.any(Number) });
    for (const from of [place, ofAnOldBuild]) {
      const rest = read(log, from).changes;
      expect(rest.map(nameOf).sort()).toEqual(
        changes
          .slice(third + 1)
          .map(nameOf)
          .sort(),
      );
    }
  });

  describe('of an origin that lost its power and gave numbers again', () => {
    const [first, ...others] = partsOf('big', 1, 10, 40);
    // What came before its predecessor was dropped by everybody.
    const log = logOf([
      wholeOf('a', 1, [1]),
      first!,
      wholeOf('a', 3, [5]),
      wholeOf('a', 4, [5]),
      wholeOf('a', 2, [1]),
      wholeOf('a', 3, [2]),
      wholeOf('a', 4, [3]),
      wholeOf('b', 1, [2]),
      ...others,
    ]);
    const { changes, places } = read(log);

    it('I16: shows what replicas took, wherever it goes on', () => {
      expect(changes.filter(({ id }) => id.origin === 'a')).toHaveLength(7);
      const cursors = changes.map(({ cursor }, index) => [index + 1, decodeCursor(cursor)] as const);
      for (const [count, place] of [...cursors, ...places])
        expect(byOrigin(read(log, place).changes)).toEqual(byOrigin(changes.slice(count)));
    });

    it('I16: shows nothing of parts that were dropped while others were open', () => {
      const early = partsOf('a', 3, 10, 100, TABLES, 900_000);
      const log = logOf([
        first!,
        wholeOf('a', 1, [1]),
        ...early.slice(0, -1),
        wholeOf('a', 2, [1]),
        wholeOf('b', 1, [1]),
        ...early.slice(-1),
        wholeOf('a', 3, [2]),
        ...others,
      ]);
      const { changes, places } = read(log);
      expect(changes).toHaveLength(15);
      const cursors = changes.map(({ cursor }, index) => [index + 1, decodeCursor(cursor)] as const);
      for (const [count, place] of [...cursors, ...places])
        expect(byOrigin(read(log, place).changes)).toEqual(byOrigin(changes.slice(count)));
    });

    it.each([1, 4])('I16: shows what was applied later, read again from entry %i', (openSeq) => {
      const isCommitted = (id: { origin: string; counter: number }): boolean =>
        id.origin !== 'a' || id.counter < 3;
      const { changes: before, places: ends } = read(log, START, undefined, { isCommitted });
      const [, place] = ends.at(-1)!;
      const order = new BatchOrder(openSeq === 1 ? undefined : place.vector, 'in front');
      const { changes: rest } = read(log, { ...place, openSeq }, undefined, { again: order });
      expect(byOrigin(rest)).toEqual({ 'of a': byOrigin(changes)['of a']!.slice(2) });
      expect(before).toHaveLength(changes.length - rest.length);
    });
  });
});
