import type { AntiphonError } from '@antiphon/core';
import {
  ChangeEncoder,
  encodeBatch,
  encodePart,
  type BatchHeader,
  type ChangeCursor,
  type Log,
  type LogEntry,
  type LoggedChange,
  type TransactionBatch,
  firstEpoch,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { logChanges, parseCursor } from './log-changes.js';

const TABLE = { name: 't', columns: ['id', 'name'], key: [0] };
const START: ChangeCursor = { generation: 'g', seq: 1, vector: {}, inside: {} };

function header(origin: string, firstCounter: number): BatchHeader {
  return { origin, firstCounter, epoch: 0, time: 1_000_000, context: {}, schemaVersion: 1, tables: [TABLE] };
}

/** Transactions that insert one row each: its id is the counter. */
function batch(origin: string, ...counters: number[]): Uint8Array {
  const transactions = counters.map((counter) => ({
    counter,
    time: 1_000_000 + counter,
    changes: [{ op: 'insert' as const, table: 0, row: [BigInt(counter), origin] }],
  }));
  const whole: TransactionBatch = { ...header(origin, counters[0]!), kind: 'transactions', transactions };
  return encodeBatch(whole);
}

/** One transaction of many rows, in parts. */
function parts(origin: string, counter: number, rows: number, bytes: number): Uint8Array[] {
  const encoder = new ChangeEncoder();
  for (let id = 0; id < rows; id += 1) encoder.insert(0, [BigInt(id), 'x'.repeat(20)]);
  const bodies: Uint8Array[] = [];
  while (encoder.byteLength > 0) bodies.push(encoder.take(bytes));
  return bodies.map((body, part) =>
    encodePart(header(origin, counter), part * bytes, part === bodies.length - 1, body),
  );
}

/** A log of the given entries; its reader gives them one by one and then waits. */
function logOf(entries: readonly (readonly [origin: string, data: Uint8Array])[]): Pick<Log, 'read'> {
  const stored = entries.map(([origin, data], index): LogEntry => ({
    seq: index + 1,
    origin,
    data,
    storedAtMs: 0,
  }));
  return {
    read: async ({ fromSeq }) => {
      let next = fromSeq;
      return {
        next: ({ signal }) => {
          const entry = stored[next - 1];
          next += 1;
          if (entry !== undefined) return Promise.resolve([entry]);
          return new Promise((_, reject) =>
            signal?.addEventListener('abort', () => reject(new Error('aborted'))),
          );
        },
        ack: () => undefined,
        close: () => Promise.resolve(),
      };
    },
  };
}

async function take(
  log: Pick<Log, 'read'>,
  count: number,
  start = START,
  rejected: Readonly<Record<number, readonly number[]>> = {},
): Promise<{ changes: LoggedChange[]; ignored: string[] }> {
  const ignored: string[] = [];
  const changes: LoggedChange[] = [];
  const controller = new AbortController();
  const options = {
    log: log as Log,
    start,
    rejectedIn: (seq: number) => Promise.resolve(rejected[seq] ?? []),
    rules: () => Promise.resolve(undefined),
    isWanted: () => true,
    epochAt: () => firstEpoch(undefined),
    onEpoch: () => undefined,
    isMember: (origin: string) => Promise.resolve(origin !== 'stranger'),
    onIgnored: (_: number, error: AntiphonError) => void ignored.push(error.code),
    signal: controller.signal,
  };
  for await (const change of logChanges(options)) {
    changes.push(change);
    if (changes.length === count) break;
  }
  controller.abort();
  return { changes, ignored };
}

const idsOf = (changes: readonly LoggedChange[]): string[] =>
  changes.map(({ id }) => `${id.origin}:${id.counter}`);

describe('logChanges', () => {
  it('gives each transaction once and in order, whatever was repeated or overtaken', async () => {
    const log = logOf([
      ['a', batch('a', 1, 2)],
      ['a', batch('a', 4)],
      ['b', batch('b', 1)],
      ['a', batch('a', 2, 3)],
      ['a', batch('a', 4, 5)],
    ]);
    const { changes } = await take(log, 6);
    expect(idsOf(changes)).toEqual(['a:1', 'a:2', 'b:1', 'a:3', 'a:4', 'a:5']);
    expect(changes[0]).toMatchObject({
      table: 't',
      op: 'insert',
      key: { id: 1n },
      after: { id: 1n, name: 'a' },
      seq: 1,
    });
  });

  it('goes on after any cursor, within a transaction in parts too', async () => {
    const [first, ...others] = parts('a', 1, 50, 400);
    const log = logOf([
      ['a', first!],
      ['b', batch('b', 1)],
      ...others.map((part) => ['a', part] as const),
      ['a', batch('a', 2)],
    ]);
    const { changes } = await take(log, 52);
    expect(idsOf(changes)).toEqual(['b:1', ...Array<string>(50).fill('a:1'), 'a:2']);
    for (const at of [0, 1, 30, 49, 50]) {
      const { changes: rest } = await take(log, 51 - at, parseCursor(changes[at]!.cursor));
      expect(rest).toEqual(changes.slice(at + 1));
    }
  });

  it('passes over what no replica would apply', async () => {
    const log = logOf([
      ['a', new Uint8Array([1, 2, 3])],
      ['a', batch('b', 1)],
      ['stranger', batch('stranger', 1)],
      ['a', batch('a', 1)],
    ]);
    const { changes, ignored } = await take(log, 1);
    expect(idsOf(changes)).toEqual(['a:1']);
    expect(ignored).toEqual(['MALFORMED_MESSAGE', 'UNKNOWN_ORIGIN', 'UNKNOWN_ORIGIN']);
  });

  it('passes on what its own listener throws, and calls it once', async () => {
    const broken = new Error('the listener is broken');
    let calls = 0;
    const changes = logChanges({
      log: logOf([['a', batch('b', 1)]]),
      start: START,
      rejectedIn: () => Promise.resolve([]),
      rules: () => Promise.resolve(undefined),
      isWanted: () => true,
      epochAt: () => firstEpoch(undefined),
      onEpoch: () => undefined,
      isMember: () => Promise.resolve(true),
      onIgnored: () => {
        calls += 1;
        throw broken;
      },
      signal: new AbortController().signal,
    });
    await expect(changes.next()).rejects.toBe(broken);
    expect(calls).toBe(1);
  });

  it('gives nothing of what certification rejected, and goes on after it', async () => {
    const log = logOf([
      ['_insync', new Uint8Array([1])],
      ['a', batch('a', 1, 2, 3)],
      ['a', batch('a', 4)],
    ]);
    const { changes, ignored } = await take(log, 2, START, { 2: [2, 3] });
    expect(idsOf(changes)).toEqual(['a:1', 'a:4']);
    expect(ignored).toEqual([]);
    const { changes: rest } = await take(log, 1, parseCursor(changes[0]!.cursor), { 2: [2, 3] });
    expect(rest).toEqual(changes.slice(1));
  });

  it('enters a log whose beginning it cannot know', async () => {
    const { changes } = await take(
      logOf([
        ['a', batch('a', 7, 8)],
        ['a', batch('a', 8, 9)],
      ]),
      3,
      { ...START, isPartial: true },
    );
    expect(idsOf(changes)).toEqual(['a:7', 'a:8', 'a:9']);
  });

  it('goes on from such a place too, also with origins that it had not met by then', async () => {
    const entries = [
      ['a', batch('a', 7)],
      ['a', batch('a', 8)],
      ['b', batch('b', 3)],
      ['b', batch('b', 4)],
    ] as const;
    const { changes } = await take(logOf(entries), 4, { ...START, isPartial: true });
    const { changes: rest } = await take(logOf(entries), 3, parseCursor(changes[0]!.cursor));
    expect(idsOf(rest)).toEqual(['a:8', 'b:3', 'b:4']);
  });

  it('gives what builds on somebody whom it does not know', async () => {
    const building = { ...header('a', 1), context: { removed: 3 } };
    const transactions = [
      { counter: 1, time: 1_000_001, changes: [{ op: 'insert' as const, table: 0, row: [1n, 'a'] }] },
    ];
    const log = logOf([
      ['a', encodeBatch({ ...building, kind: 'transactions', transactions })],
      ['a', batch('a', 2)],
    ]);
    expect(idsOf((await take(log, 2)).changes)).toEqual(['a:1', 'a:2']);
  });
});

it.each(['', 'x', 'k9kk.1', '.1', 'gaFh.0'])('parseCursor refuses %j', (text) => {
  expect(() => parseCursor(text)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
});
