import { describe, expect, it } from 'vitest';
import { failoverDifference, parseFailover } from './failover.js';

describe('settings of failover', () => {
  it('have defaults, which depend on the mode', () => {
    expect(parseFailover({})).toEqual({
      ...{ mode: 'automatic', leaseMs: 2000, renewMs: 500, marginMs: 250, probeMs: 100, goneMs: 1000 },
      ...{ onIsolation: 'suspend', foreignLeaseMs: 300_000 },
    });
    expect(parseFailover({ mode: 'manual' })).toMatchObject({ mode: 'manual', onIsolation: 'continue' });
    expect(parseFailover(parseFailover({ goneMs: 100, leaseMs: 900 }))).toMatchObject({ goneMs: 100 });
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', 'automatic', /`failover` is/],
    ['an unknown mode', { mode: 'auto' }, /`failover.mode` is .*'automatic' or 'manual'/],
    ['an unknown name', { lease: 3 }, /leaseMs/],
    ['no duration', { probeMs: 0 }, /`failover.probeMs` is 0. Give milliseconds, from 1/],
    ['half a millisecond', { goneMs: 0.5 }, /`failover.goneMs`/],
    [
      'a lease that is over before it is renewed',
      { leaseMs: 700 },
      /more than renewMs and marginMs together/,
    ],
    [
      'rarer questions than signs',
      { probeMs: 2000 },
      /`failover.probeMs` is 2000. Give at most goneMs \(1000\)/,
    ],
    ['an unknown way', { onIsolation: 'stop' }, /'suspend' or 'continue'/],
  ])('are refused where they are %s', (_, input, message) => {
    expect(() => parseFailover(input)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(() => parseFailover(input)).toThrow(message);
  });

  it('are told apart by what differs', () => {
    const ours = parseFailover({ goneMs: 500 });
    expect(failoverDifference(ours, parseFailover(ours))).toBeUndefined();
    expect(failoverDifference(ours, parseFailover({ mode: 'manual' }))).toEqual([
      'mode automatic, goneMs 500, onIsolation suspend',
      'mode manual, goneMs 1000, onIsolation continue',
    ]);
    expect(failoverDifference(ours, undefined)).toEqual(['mode automatic', 'none']);
  });
});
