import type { SealedMessage } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { NewlySealed, RecentMessages } from './recent-messages.js';

const MB = 1024 * 1024;
const message = (counter: number, bytes = 10, part = 0, last = true): SealedMessage => ({
  firstCounter: counter,
  lastCounter: counter,
  part,
  last,
  data: new Uint8Array(bytes),
});
const sealed = (...messages: readonly SealedMessage[]): NewlySealed => {
  const newly = new NewlySealed();
  for (const one of messages) newly.add(one);
  return newly;
};
const counters = (messages: readonly SealedMessage[] | undefined): string[] | undefined =>
  messages?.map(({ lastCounter, part }) => `${lastCounter}.${part}`);

describe('the newest sealed messages', () => {
  it('knows nothing before the first one was added', () => {
    expect(new RecentMessages().take({ lastCounter: 0, part: 0 }, MB)).toBeUndefined();
  });

  it('tells what comes after a place, and not what was sealed before it began', () => {
    const recent = new RecentMessages();
    recent.add(sealed(message(8), message(9)), 0);
    recent.add(sealed(message(10)), 0);
    expect(counters(recent.take({ lastCounter: 6, part: 0 }, MB))).toBeUndefined();
    expect(counters(recent.take({ lastCounter: 8, part: 0 }, MB))).toEqual(['9.0', '10.0']);
    expect(counters(recent.take({ lastCounter: 10, part: 0 }, MB))).toEqual([]);
  });

  it('tells the parts of a transaction after one of them', () => {
    const recent = new RecentMessages();
    recent.add(sealed(message(3, 10, 0, false), message(3, 10, 1, false), message(3, 10, 2)), 0);
    expect(counters(recent.take({ lastCounter: 3, part: 0 }, MB))).toEqual(['3.1', '3.2']);
  });

  it('gives at most so many bytes, and at least one', () => {
    const recent = new RecentMessages();
    recent.add(sealed(message(1, 500), message(2, 500), message(3, 500)), 0);
    expect(counters(recent.take({ lastCounter: 0, part: Number.MAX_SAFE_INTEGER }, 1000))).toEqual([
      '1.0',
      '2.0',
    ]);
    expect(counters(recent.take({ lastCounter: 2, part: 0 }, 1))).toEqual(['3.0']);
  });

  it('keeps some megabytes, and says of what it has forgotten that it does not know', () => {
    const recent = new RecentMessages();
    for (let counter = 1; counter <= 6; counter += 1) recent.add(sealed(message(counter, MB)), 0);
    expect(recent.take({ lastCounter: 1, part: 0 }, MB)).toBeUndefined();
    expect(counters(recent.take({ lastCounter: 3, part: 0 }, 2 * MB))).toEqual(['4.0', '5.0']);
    recent.add(sealed(message(7, 9 * MB)), 0);
    expect(recent.take({ lastCounter: 6, part: 0 }, MB)).toBeUndefined();
    expect(counters(recent.take({ lastCounter: 7, part: 0 }, MB))).toEqual([]);
  });

  it('forgets by halves when nobody asks', () => {
    const recent = new RecentMessages();
    for (let counter = 1; counter <= 10_000; counter += 1) recent.add(sealed(message(counter)), 0);
    expect(recent.take({ lastCounter: 5000, part: 0 }, MB)).toBeUndefined();
    expect(recent.take({ lastCounter: 9999, part: 0 }, MB)).toHaveLength(1);
  });

  it('of one transaction keeps some megabytes, however big it is', () => {
    const parts = Array.from({ length: 8 }, (_, part) => message(2, MB, part, part === 7));
    const newly = sealed(message(1), ...parts);
    expect(newly.messages.reduce((sum, { data }) => sum + data.length, 0)).toBeLessThanOrEqual(4 * MB);
    const again = sealed(message(1));
    again.addAll(newly);
    for (const one of [newly, again]) {
      const recent = new RecentMessages();
      recent.add(one, 0);
      expect(recent.take({ lastCounter: 1, part: 0 }, MB)).toBeUndefined();
      expect(counters(recent.take({ lastCounter: 2, part: 6 }, MB))).toEqual(['2.7']);
    }
  });

  it('gives each one once: the database tells it again', () => {
    const recent = new RecentMessages();
    recent.add(sealed(message(1), message(2), message(3)), 0);
    expect(counters(recent.take({ lastCounter: 1, part: 0 }, 1))).toEqual(['2.0']);
    expect(recent.take({ lastCounter: 1, part: 0 }, MB)).toBeUndefined();
    expect(counters(recent.take({ lastCounter: 2, part: 0 }, MB))).toEqual(['3.0']);
  });

  it('keeps nothing that is published already', () => {
    const recent = new RecentMessages();
    recent.add(sealed(message(1)), 0);
    recent.add(sealed(message(2)), 2);
    recent.add(sealed(message(3)), 2);
    expect(recent.take({ lastCounter: 1, part: 0 }, MB)).toBeUndefined();
    expect(counters(recent.take({ lastCounter: 2, part: 0 }, MB))).toEqual(['3.0']);
  });
});
