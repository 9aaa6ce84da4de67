import { encodeBatch, encodeEpochRecord, EPOCH_ORIGIN, type LogEntry, systemClock } from '@antiphon/core';
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

/** Whatever `a` gave and did not get into the log before it is spent. */
function epochBehind(after: number): Uint8Array {
  return encodeEpochRecord({
    ...{ epoch: 1, primary: 'a', instance: 'one', after, by: 'a', why: 'restart', atMs: 0, leaves: [] },
  });
}

/**
 * Of a log in which `a` has published up to 2, and these entries of its own stand; the others are
 * of others.
 */
async function look(
  own: Readonly<Record<number, number>>,
  lastSeq: number,
  firstSeq = 1,
  epoch: { readonly seq?: number; readonly after?: number } = {},
): Promise<string> {
  const entryAt = (seq: number): LogEntry => {
    const counter = own[seq];
    const isEpoch = seq === epoch.seq;
    const [origin, data] = isEpoch
      ? [EPOCH_ORIGIN, epochBehind(epoch.after ?? 0)]
      : counter === undefined
        ? ['b', OTHERS]
        : ['a', transaction(counter)];
    return { seq, origin, data, storedAtMs: 0, id: String(seq) } as unknown as LogEntry;
  };
  const newest = Math.max(0, ...Object.keys(own).map(Number));
  const log = {
    lastOf: () => Promise.resolve(newest === 0 ? undefined : entryAt(newest)),
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
  const epochs =
    epoch.seq === undefined ? [] : [{ number: 1, primary: 'a', instance: 'one', seq: epoch.seq }];
  const store = { state: () => ({ publishedCounter: 2, position: { seq: lastSeq }, epochs }) };
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

  it('was never there, when an epoch of its own came behind it', async () => {
    expect(await look({ 5: 1 }, 10, 1, { seq: 8, after: 2 })).toBe('nothing is lost');
    expect(await look({ 5: 1 }, 10, 1, { seq: 8, after: 1 })).toMatch(/a:2, .* was removed/);
    expect(await look({}, 10, 1, { seq: 3, after: 2 })).toBe('nothing is lost');
  });

  it('may have been trimmed', async () => {
    expect(await look({ 50_000: 1 }, 50_003, 300)).toBe('nothing is lost');
  });
});
