import { describe, expect, it } from 'vitest';
import { SendWindow } from './send-window.js';

const LIMITS = { messages: 4, bytes: 100 };
const sent = (counter: number, whole = true, part = 0) => ({ mark: { counter, part, whole }, bytes: 10 });

describe('SendWindow', () => {
  it('acknowledges in order of sending only', () => {
    const window = new SendWindow(LIMITS);
    const [a, b, c] = [1, 2, 3].map((counter) => window.push(sent(counter)));
    window.acknowledge(a!, 10);
    window.acknowledge(c!, 12);
    expect(window.takeAcknowledged()).toMatchObject({ counter: 1, seq: 10 });
    expect(window.takeAcknowledged()).toBeUndefined();
    expect(window.inFlight).toBe(2);
    expect(b).toBe(1);
  });

  it('counts a transaction as published only once its last part is in the log', () => {
    const window = new SendWindow(LIMITS);
    window.acknowledge(window.push(sent(7, false, 0)), 1);
    expect(window.takeAcknowledged()).toMatchObject({ counter: 6, mark: { counter: 7, part: 0 } });
    window.acknowledge(window.push(sent(7, true, 1)), 2);
    expect(window.takeAcknowledged()).toMatchObject({ counter: 7 });
  });

  it('knows where a transaction has begun and not ended', () => {
    const window = new SendWindow(LIMITS);
    const after = (place: object): boolean | undefined => {
      window.acknowledge(window.push({ ...sent(7), ...place }), window.highestSeq + 1);
      return window.takeAcknowledged()?.endsWhole;
    };
    expect([{}, { isPiece: true }, sent(8, false, 0), sent(8, true, 1)].map(after)).toEqual([
      ...[true, false, false, true],
    ]);
  });

  it('is full by messages or by bytes', () => {
    const window = new SendWindow({ messages: 10, bytes: 25 });
    for (let counter = 1; window.hasRoom; counter++) window.push(sent(counter));
    expect(window.inFlight).toBe(3);
    expect(window.bytes).toBe(30);
  });

  it('ignores results of a voided attempt, and sees a log that gives away a place twice', () => {
    const window = new SendWindow(LIMITS);
    const old = window.push(sent(1));
    window.clear();
    const fresh = window.push(sent(1));
    expect(window.acknowledge(old, 5)).toBe('stale');
    expect(window.isCurrent(old)).toBe(false);
    expect(window.acknowledge(fresh, 6)).toBe('noted');
    window.takeAcknowledged();
    expect(window.acknowledge(window.push(sent(2)), 6)).toBe('regressed');
  });
});
