import { describe, expect, it } from 'vitest';
import { AwaitedCounters } from './awaited-counters.js';

describe('AwaitedCounters', () => {
  it('tells who has been waiting for long, and for what', () => {
    const awaited = new AwaitedCounters('a');
    awaited.heard({ id: 'b', waitsFor: { a: 7 }, waitsWhy: {} }, 0);
    awaited.heard({ id: 'c', waitsFor: { a: 5, x: 1 }, waitsWhy: { a: 'no table', x: 'lost' } }, 1000);
    expect(awaited.overdue(2000)).toBeUndefined();
    expect(awaited.overdue(3500)).toEqual({ counter: 7, members: ['b'] });
    expect(awaited.overdue(5000)).toEqual({ counter: 5, members: ['b', 'c'], why: 'no table' });
  });

  it('forgets a member that has got it, and begins anew with another counter', () => {
    const awaited = new AwaitedCounters('a');
    awaited.heard({ id: 'b', waitsFor: { a: 7 }, waitsWhy: {} }, 0);
    awaited.heard({ id: 'b', waitsFor: { a: 8 }, waitsWhy: {} }, 2900);
    expect(awaited.overdue(4000)).toBeUndefined();
    expect(awaited.overdue(6000)).toEqual({ counter: 8, members: ['b'] });
    awaited.heard({ id: 'b', waitsFor: { other: 8 }, waitsWhy: {} }, 6500);
    expect(awaited.overdue(9000)).toBeUndefined();
  });
});
