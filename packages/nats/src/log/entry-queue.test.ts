import type { LogEntry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { EntryQueue } from './entry-queue.js';

const plenty = { maxEntries: 1000, maxBytes: 1_000_000 };

function entry(seq: number, bytes = 10): LogEntry {
  return { seq, origin: 'a', data: new Uint8Array(bytes), storedAtMs: 0 };
}

function filled(count: number, bytes = 10): EntryQueue {
  const queue = new EntryQueue();
  for (let seq = 1; seq <= count; seq += 1) queue.push(entry(seq, bytes));
  return queue;
}

describe('EntryQueue', () => {
  it('gives entries in order, up to both limits, and at least one', () => {
    const queue = filled(10, 100);
    expect(queue.take({ maxEntries: 3, maxBytes: 1000 }).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(queue.take({ maxEntries: 100, maxBytes: 250 }).map(({ seq }) => seq)).toEqual([4, 5]);
    expect(queue.take({ maxEntries: 0, maxBytes: 0 }).map(({ seq }) => seq)).toEqual([6]);
    expect(queue.take(plenty).map(({ seq }) => seq)).toEqual([7, 8, 9, 10]);
    expect(queue.take(plenty)).toEqual([]);
  });

  it('counts what it holds, exactly, over any mix of pushes and takes', () => {
    const queue = new EntryQueue();
    let next = 1;
    let expected = 1;
    for (let round = 0; round < 500; round += 1) {
      for (let n = 0; n < (round * 7) % 13; n += 1) queue.push(entry(next++, n));
      for (const { seq } of queue.take({ maxEntries: (round % 9) + 1, maxBytes: 60 }))
        expect(seq).toBe(expected++);
      expect(queue.length).toBe(next - expected);
    }
    while (queue.length > 0) for (const { seq } of queue.take(plenty)) expect(seq).toBe(expected++);
    expect(expected).toBe(next);
    expect(queue.bytes).toBe(0);
  });

  it('is empty after clear', () => {
    const queue = filled(5);
    queue.take({ maxEntries: 2, maxBytes: 1000 });
    queue.clear();
    expect(queue.length).toBe(0);
    expect(queue.bytes).toBe(0);
  });
});
