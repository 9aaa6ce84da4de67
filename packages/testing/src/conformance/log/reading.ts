import type { Log, LogReader } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { codeOf } from '../error-code.js';
import type { LogHarness } from '../log-harness.js';
import { ALL, append, appendSurely, fill, numbers, readTo, text } from './use.js';
import { eventually } from '../../eventually.js';

export interface Opened {
  readonly log: Log;
  readonly generation: string;
  read(fromSeq: number, durable?: string): Promise<LogReader>;
}

export function describeReading(harness: () => LogHarness): void {
  const opened = (): Promise<Opened> => openedOf(harness());
  describe.each([{ durable: 'reader' }, { durable: undefined }])(
    'reading with durable $durable',
    ({ durable }) => {
      it('I2: gives every entry once and in order, from any place, and then what comes', async () => {
        const { log, read } = await opened();
        const seqs = await fill(log, numbers('n', 300));
        const [first = 0] = seqs;
        const last = first + 299;
        const reader = await read(first, durable);
        const entries = await readTo(reader, last);
        expect(entries.map(({ seq }) => seq)).toEqual([...seqs].sort((a, b) => a - b));
        expect(entries.map(({ data }) => text(data))).toEqual(numbers('n', 300));
        const next = reader.next(ALL);
        await append(log, 'next');
        expect((await next).map(({ seq }) => seq)).toEqual([last + 1]);
        await reader.close();
        const later = await read(first + 200, durable);
        expect((await readTo(later, last + 1)).map(({ seq }) => seq)[0]).toBe(first + 200);
        await later.close();
      });

      it('I11: keeps the limits of a call, but gives one entry at least', async () => {
        const { log, read } = await opened();
        const [first = 0] = await fill(log, numbers('n', 20));
        const reader = await read(first, durable);
        const taken: number[] = [];
        while (taken.length < 20) {
          const entries = await reader.next(
            taken.length < 10 ? { maxEntries: 3, maxBytes: 1_000_000 } : { maxEntries: 100, maxBytes: 1 },
          );
          expect(entries.length).toBeGreaterThan(0);
          expect(entries.length).toBeLessThanOrEqual(taken.length < 10 ? 3 : 1);
          taken.push(...entries.map(({ seq }) => seq));
        }
        expect(taken).toEqual(Array.from({ length: 20 }, (_, index) => first + index));
        await reader.close();
      });

      it('stops waiting when told to', async () => {
        const { log, read } = await opened();
        const { lastSeq } = await log.identity();
        const reader = await read(lastSeq + 1, durable);
        const abort = new AbortController();
        const waiting = reader.next({ ...ALL, signal: abort.signal }).then(() => 'entries', codeOf);
        abort.abort();
        expect(await waiting).toBe('ABORTED');
        const again = reader.next(ALL).then(() => 'entries', codeOf);
        await reader.close();
        expect(await again).toBe('CLOSED');
        await reader.close();
      });

      it('I2: goes on after a lost connection, without loss or repetition', async () => {
        const { log, read } = await opened();
        const [first = 0] = await fill(log, numbers('before', 50));
        const reader = await read(first, durable);
        const seen = [...(await reader.next({ maxEntries: 10, maxBytes: 1_000_000 }))];
        const mend = await harness().interrupt();
        const pending = reader.next(ALL);
        await mend();
        seen.push(...(await pending));
        const last = await appendSurely(log, 'after');
        if ((seen.at(-1)?.seq ?? 0) < last) seen.push(...(await readTo(reader, last)));
        expect(seen.map(({ seq }) => seq)).toEqual(
          Array.from({ length: last - first + 1 }, (_, index) => first + index),
        );
        await reader.close();
      });

      describeEnding(harness, opened, durable);
    },
  );

  describeDurables(harness, opened);

  describeTelling(harness, opened);

  it('I4: shows one order to everybody, whoever writes', async () => {
    const [one, two] = [await opened(), await opened()];
    const { lastSeq } = await one.log.identity();
    await Promise.all([fill(one.log, numbers('a', 200), 'one'), fill(two.log, numbers('b', 200), 'two')]);
    const readers = [await one.read(lastSeq + 1), await two.read(lastSeq + 1)];
    const [here, there] = await Promise.all(readers.map((reader) => readTo(reader, lastSeq + 400)));
    expect(here?.map(({ origin, data }) => [origin, text(data)])).toEqual(
      there?.map(({ origin, data }) => [origin, text(data)]),
    );
    const ofOne = here?.filter(({ origin }) => origin === 'one').map(({ data }) => text(data));
    expect(ofOne).toEqual(numbers('a', 200));
    for (const reader of readers) await reader.close();
  });
}

function describeEnding(
  harness: () => LogHarness,
  opened: () => Promise<Opened>,
  durable: string | undefined,
): void {
  it('I14: ends with LOG_REPLACED when the log is another one', async () => {
    const { log, generation, read } = await opened();
    const [first = 0] = await fill(log, numbers('n', 10));
    expect(await log.read({ generation: 'another', fromSeq: first }).then(() => 'reads', codeOf)).toBe(
      'LOG_REPLACED',
    );
    const reader = await read(first, durable);
    await readTo(reader, first + 9);
    const waiting = reader.next(ALL).then(() => 'entries', codeOf);
    await harness().recreate();
    expect(await waiting).toBe('LOG_REPLACED');
    const other = await harness().connect();
    await other.open({ create: true });
    expect(await other.read({ generation, fromSeq: 1 }).then(() => 'reads', codeOf)).toBe('LOG_REPLACED');
  });

  it('I14: ends with LOG_REPLACED when what comes next was trimmed', async () => {
    const { log, read } = await opened();
    const [first = 0] = await fill(log, numbers('n', 10));
    await log.identity();
    await harness().trim(first + 5);
    expect(await read(first, durable).then(() => 'reads', codeOf)).toBe('LOG_REPLACED');
    const reader = await read(first + 5, durable);
    expect((await readTo(reader, first + 9))[0]?.seq).toBe(first + 5);
    await reader.close();
  });
}

function describeTelling(harness: () => LogHarness, opened: () => Promise<Opened>): void {
  it('I14: tells an entry by its time and its append, the same for whoever reads it, and after a restart', async () => {
    const { log, read } = await opened();
    const [first = 0, second = 0] = await fill(log, numbers('n', 2));
    const expecting = await append(log, 'expecting', { expectedLastSeqOfOrigin: second });
    expect(expecting).toEqual({ type: 'stored', seq: second + 1, duplicate: false });
    const asked = [await log.get(first), await log.get(second), await log.lastOf('writer')];
    expect(asked.map((entry) => entry?.attempt)).toEqual(['writer:n1', 'writer:n2', 'expecting']);
    const mend = await harness().interrupt();
    await mend();
    const reader = await read(first);
    const delivered = await readTo(reader, second + 1);
    await reader.close();
    expect(delivered.map(({ storedAtMs }) => storedAtMs)).toEqual(asked.map((entry) => entry?.storedAtMs));
    expect((await log.get(second))?.storedAtMs).toBe(asked[1]?.storedAtMs);
    expect(new Set(delivered.map(({ storedAtMs }) => storedAtMs)).size).toBe(3);
  });
}

function describeDurables(harness: () => LogHarness, opened: () => Promise<Opened>): void {
  describe('a durable consumer', () => {
    it('knows what was acknowledged, and never outranks the place that is asked for', async () => {
      const { log, read } = await opened();
      const [first = 0] = await fill(log, numbers('n', 30));
      const reader = await read(first, 'replica_x');
      await readTo(reader, first + 29);
      reader.ack(first + 19);
      await eventually(
        'the floor has moved',
        async () => (await harness().durableFloor('replica_x')) === first + 19,
      );
      await reader.close();
      for (const from of [first + 25, first + 5, first + 20]) {
        const again = await read(from, 'replica_x');
        expect((await readTo(again, first + 29))[0]?.seq).toBe(from);
        await again.close();
      }
    });

    it('I2: can be deleted from outside, and nothing is lost or repeated', async () => {
      const { log, read } = await opened();
      const [first = 0] = await fill(log, numbers('n', 50));
      const reader = await read(first, 'replica_x');
      const seen = [...(await reader.next({ maxEntries: 5, maxBytes: 1_000_000 }))];
      await harness().deleteDurable('replica_x');
      const last = await appendSurely(log, 'after');
      seen.push(...(await readTo(reader, last)));
      expect(seen.map(({ seq }) => seq)).toEqual(
        Array.from({ length: last - first + 1 }, (_, index) => first + index),
      );
      reader.ack(last);
      await reader.close();
    });
  });
}

export async function openedOf(harness: LogHarness): Promise<Opened> {
  const log = await harness.connect();
  const { generation } = await log.open({ create: true });
  const read = (fromSeq: number, durable?: string): Promise<LogReader> =>
    log.read({ generation, fromSeq, ...(durable === undefined ? {} : { durable }) });
  return { log, generation, read };
}
