import { expect, it } from 'vitest';
import { clientOf, RateLimit } from './rate-limit.js';

const OVERLOADED = expect.objectContaining({ code: 'OVERLOADED', retriable: true }) as Error;

function limited(perSecond: number) {
  let nowMs = 0;
  const limit = new RateLimit(perSecond, () => nowMs);
  const taken = (client: string, tries: number): number => {
    let count = 0;
    for (let tried = 0; tried < tries; tried += 1) {
      try {
        limit.take(client);
        count += 1;
      } catch (error) {
        expect(error).toEqual(OVERLOADED);
      }
    }
    return count;
  };
  return { limit, taken, wait: (ms: number) => (nowMs += ms) };
}

it('a client may ask a second worth at once, and then as fast as it comes', () => {
  const { taken, wait } = limited(10);
  expect(taken('a', 20)).toBe(10);
  wait(500);
  expect(taken('a', 20)).toBe(5);
  wait(99);
  expect(taken('a', 20)).toBe(0);
  wait(1);
  expect(taken('a', 20)).toBe(1);
  wait(3_600_000);
  expect(taken('a', 20)).toBe(10);
});

it('one client takes nothing from another', () => {
  const { taken } = limited(3);
  expect([taken('a', 9), taken('b', 9), taken('a', 9)]).toEqual([3, 3, 0]);
});

it('remembers so many clients, and forgets those that were quiet for longest', () => {
  const { limit, taken } = limited(1);
  taken('busy', 1);
  for (let client = 0; client < 30_000; client += 1) {
    taken(`client ${client}`, 1);
    if (client % 1000 === 0) expect(taken('busy', 1)).toBe(0);
  }
  expect(limit.clients).toBe(10_000);
});

it.each([
  ['shop', '10.0.0.1', 'token shop'],
  [undefined, '10.0.0.1', 'address 10.0.0.1'],
  [undefined, '::ffff:10.0.0.1', 'address 10.0.0.1'],
  [undefined, '2001:db8:1:2:3:4:5:6', 'address 2001:db8:1:2'],
  [undefined, '2001:db8:1:2::6', 'address 2001:db8:1:2'],
  [undefined, '2001:db8::6', 'address 2001:db8:0:0'],
  [undefined, '::1', 'address 0:0:0:0'],
])('%s at %s is %s', (bearer, address, client) => {
  expect(clientOf(bearer, address)).toBe(client);
});
