import { AntiphonError, type LogEntry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ReadAhead } from './read-ahead.js';

const LIMITS = { maxEntries: 8, maxBytes: 80 };

/** A reader that gives what the test puts into it, and remembers what it was asked for. */
class Source {
  readonly asked: { readonly maxEntries: number; readonly maxBytes: number }[] = [];
  #answer: { resolve(entries: readonly LogEntry[]): void; reject(error: Error): void } | undefined;

  next(limits: { maxEntries: number; maxBytes: number }): Promise<readonly LogEntry[]> {
    if (this.#answer !== undefined) throw new Error('next() is already waiting');
    this.asked.push({ maxEntries: limits.maxEntries, maxBytes: limits.maxBytes });
    return new Promise((resolve, reject) => (this.#answer = { resolve, reject }));
  }

  get waits(): boolean {
    return this.#answer !== undefined;
  }

  async give(...entries: readonly LogEntry[]): Promise<void> {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.resolve(entries);
    await settled();
  }

  async fail(error: Error): Promise<void> {
    this.#answer?.reject(error);
    await settled();
  }
}

function entry(seq: number, bytes = 1, origin = 'b'): LogEntry {
  return { seq, origin, data: new Uint8Array(bytes), storedAtMs: 0 };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function readAhead(): { readonly source: Source; readonly ahead: ReadAhead } {
  const source = new Source();
  return { source, ahead: new ReadAhead(source, LIMITS, new AbortController().signal) };
}

const seqs = (entries: readonly LogEntry[]): readonly number[] => entries.map(({ seq }) => seq);

async function first({ source, ahead }: ReturnType<typeof readAhead>, ...entries: readonly LogEntry[]) {
  const next = ahead.next();
  await source.give(...entries);
  return next;
}

describe('entries that come while others wait for their turn', () => {
  it('go with them', async () => {
    const reading = readAhead();
    const { source, ahead } = reading;
    ahead.begin(await first(reading, entry(2)));
    await source.give(entry(3));
    await source.give(entry(4), entry(5));
    expect(seqs(ahead.take(() => true))).toEqual([3, 4, 5]);
    expect(ahead.take(() => true)).toEqual([]);
  });

  it('are the next ones where they do not go with them', async () => {
    const reading = readAhead();
    const { source, ahead } = reading;
    ahead.begin(await first(reading, entry(2)));
    await source.give(entry(3), entry(4, 1, 'stranger'), entry(5));
    expect(seqs(ahead.take(({ origin }) => origin !== 'stranger'))).toEqual([3]);
    expect(seqs(await ahead.next())).toEqual([4, 5]);
  });

  it('are waited for by the same read when they come later', async () => {
    const reading = readAhead();
    const { source, ahead } = reading;
    ahead.begin(await first(reading, entry(2)));
    expect(ahead.take(() => true)).toEqual([]);
    const next = ahead.next();
    await source.give(entry(3));
    expect(seqs(await next)).toEqual([3]);
    expect(source.asked).toHaveLength(2);
  });

  it('are no more than the limits leave room for', async () => {
    const reading = readAhead();
    const { source, ahead } = reading;
    ahead.begin(await first(reading, entry(2, 30)));
    expect(source.asked.at(-1)).toEqual({ maxEntries: 7, maxBytes: 50 });
    await source.give(entry(3, 20));
    // Less than half of the limit is left.
    expect(source.waits).toBe(false);
    expect(seqs(ahead.take(() => true))).toEqual([3]);
  });

  it('stay in the log while a group waits that fills half of the limits', async () => {
    const reading = readAhead();
    const { source, ahead } = reading;
    ahead.begin(await first(reading, entry(2, 41)));
    expect(source.waits).toBe(false);
  });
});

it('a reader that fails while others wait says so when it is asked next', async () => {
  const reading = readAhead();
  const { source, ahead } = reading;
  ahead.begin(await first(reading, entry(2)));
  await source.give(entry(3));
  await source.fail(new AntiphonError('LOG_REPLACED', 'It is another log.'));
  expect(seqs(await ahead.next())).toEqual([3]);
  await expect(ahead.next()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
});
