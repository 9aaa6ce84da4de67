import { encodeBatch, type LogEntry, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Deadline } from '../wait/deadline.js';
import { OwnEntries } from './own-entries.js';

const OTHERS = new Uint8Array([0]);

function transaction(counter: number): Uint8Array {
  return encodeBatch({
    ...{ kind: 'transactions', origin: 'a', firstCounter: counter, epoch: 0, time: counter, context: {} },
    ...{ schemaVersion: 1, tables: [] },
    transactions: [{ counter, time: counter, changes: [] }],
  });
}

/**
 * Of a log in which `a` has published up to 2, and these entries of its own stand; the others are
 * of others.
 */
async function look(own: Readonly<Record<number, number>>, lastSeq: number, firstSeq = 1): Promise<string> {
  const entryAt = (seq: number): LogEntry => {
    const counter = own[seq];
    const [origin, data] = counter === undefined ? ['b', OTHERS] : ['a', transaction(counter)];
    return { seq, origin, data, storedAtMs: 0, id: String(seq) } as unknown as LogEntry;
  };
  const newest = Math.max(...Object.keys(own).map(Number));
  const log = {
    lastOf: () => Promise.resolve(entryAt(newest)),
    identity: () => Promise.resolve({ generation: 'g', firstSeq, lastSeq }),
    read: ({ fromSeq }: { fromSeq: number }) => {
      let seq = fromSeq;
      const next = ({ maxEntries }: { maxEntries: number }): Promise<LogEntry[]> => {
        const count = Math.min(maxEntries, lastSeq - seq + 1);
        const entries = Array.from({ length: count }, (_, index) => entryAt(seq + index));
        seq += count;
        return Promise.resolve(entries);
      };
      return Promise.resolve({ next, close: () => Promise.resolve() });
    },
    replace: (message: string) => new Error(message),
  };
  const store = { state: () => ({ publishedCounter: 2, position: { seq: lastSeq } }) };
  const clock = systemClock();
  const deadline = new Deadline(clock, 60_000);
  try {
    await new OwnEntries({ id: 'a', clock, log, store } as never).check(deadline);
    return 'nothing is lost';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    deadline.end();
  }
}

describe('I14: the newest own entry, which was published', () => {
  it('was removed from a log, however many entries of others it has', async () => {
    expect(await look({ 5: 1 }, 10)).toMatch(/a:2, which this replica has published, was removed.*a:1/);
    expect(await look({ 50_000: 1 }, 50_003)).toMatch(/a:2, .* was removed/);
  });

  it('stands before one that came late, however far', async () => {
    expect(await look({ 5: 2, 9: 1 }, 10)).toBe('nothing is lost');
    expect(await look({ 5: 2, 50_000: 1 }, 50_003)).toBe('nothing is lost');
  });

  it('may have been trimmed', async () => {
    expect(await look({ 50_000: 1 }, 50_003, 300)).toBe('nothing is lost');
  });
});
