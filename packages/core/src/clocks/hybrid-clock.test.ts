import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { manualClock } from '../../test/manual-clock.js';
import { HybridClock, MAX_HYBRID_TIME } from './hybrid-clock.js';

const wallMs = fc.oneof(
  fc.integer({ min: 0, max: 4_000_000_000_000 }),
  fc.double({ min: 0, max: 4e12, noNaN: true }),
);
const hybridTime = fc.integer({ min: 0, max: MAX_HYBRID_TIME });

/**
 * Whatever can happen to a clock: the wall clock jumps either way, times are seen, times are given.
 */
const step = fc.oneof(
  fc.record({ type: fc.constant('wall' as const), to: wallMs }),
  fc.record({ type: fc.constant('tick' as const), count: fc.integer({ min: 1, max: 1000 }) }),
  fc.record({ type: fc.constant('tickAt' as const), writtenMs: wallMs }),
  fc.record({ type: fc.constant('tickIdle' as const) }),
  fc.record({ type: fc.constant('observe' as const), time: hybridTime }),
  fc.record({ type: fc.constant('restore' as const), time: hybridTime }),
);

describe('HybridClock', () => {
  it('I5: gives times that are later than every one given or seen before, whatever the wall clock does', () => {
    fc.assert(
      fc.property(wallMs, fc.array(step, { maxLength: 60 }), (start, steps) => {
        const wall = manualClock(start);
        const clock = new HybridClock(wall);
        let latest = 0;
        for (const each of steps) {
          if (each.type === 'wall') wall.wallMs = each.to;
          else if (each.type === 'observe') {
            clock.observe(each.time);
            latest = Math.max(latest, each.time);
          } else if (each.type === 'restore') {
            clock.restore(each.time);
            latest = Math.max(latest, each.time);
          } else if (each.type === 'tickAt') {
            const time = clock.tickAt(each.writtenMs);
            expect(time).toBeGreaterThan(latest);
            const dueUs = Math.min(each.writtenMs, wall.wallMs) * 1000;
            // Subtracting from now loses less than a microsecond.
            if (time > latest + 1) expect(Math.abs(time - dueUs)).toBeLessThanOrEqual(2);
            latest = time;
          } else if (each.type === 'tickIdle') {
            expect(clock.tickIdle()).toBe(++latest);
          } else {
            const first = clock.tick(each.count);
            expect(Number.isSafeInteger(first)).toBe(true);
            expect(first).toBeGreaterThan(latest);
            expect(first).toBeGreaterThanOrEqual(Math.floor(wall.wallMs * 1000));
            latest = first + each.count - 1;
          }
          expect(clock.last).toBe(latest);
        }
      }),
    );
  });

  it('stays with the wall clock when nothing pushes it on', () => {
    const wall = manualClock(1_700_000_000_000);
    const clock = new HybridClock(wall);
    expect(clock.tick()).toBe(1_700_000_000_000_000);
    expect(clock.tick()).toBe(1_700_000_000_000_001);
    wall.wallMs += 5;
    expect(clock.tick()).toBe(1_700_000_000_005_000);
  });

  it('gives what was written before the time when it was written, after what was seen before', () => {
    const wall = manualClock(10_000);
    const clock = new HybridClock(wall);
    clock.observe(4_000_000);
    expect(clock.tickAt(5000)).toBe(5_000_000);
    expect(clock.tickAt(5000)).toBe(5_000_001);
    expect(clock.tickAt(4500)).toBe(5_000_002);
    expect(clock.tickAt(20_000)).toBe(10_000_000);
  });

  it('takes back what was given to a transaction that was undone, and nothing else', () => {
    const clock = new HybridClock({ nowMs: () => 10_000 });
    clock.tickAt(5000);
    const { last } = clock;
    clock.tick(3);
    clock.giveBack(last);
    expect(clock.tickAt(6000)).toBe(6_000_000);
    clock.giveBack(20_000_000);
    expect(clock.last).toBe(6_000_000);
  });

  it('moves nothing when its source refuses to give a time', () => {
    const wall = manualClock(1000);
    const source = {
      nowMs: (): number => {
        throw new Error('the clock is wrong');
      },
    };
    const clock = new HybridClock(wall, source);
    clock.observe(700);
    expect(() => clock.tick()).toThrow('the clock is wrong');
    expect(() => clock.tickAt(500)).toThrow('the clock is wrong');
    expect(clock.last).toBe(700);
    expect(clock.tickIdle()).toBe(701);
    expect(clock.last).toBe(701);
  });

  it('says how far ahead of the wall clock an observed time is', () => {
    const clock = new HybridClock(manualClock(1000));
    expect(clock.observe(1_500_000)).toBe(500);
    expect(clock.observe(400_000)).toBe(-600);
  });

  it('I15: refuses times that it could not count on from', () => {
    const clock = new HybridClock(manualClock(1000));
    const wrong = [-1, 0.5, NaN, Infinity, MAX_HYBRID_TIME + 1, Number.MAX_SAFE_INTEGER];
    for (const time of wrong) expect(codeThrownBy(() => clock.observe(time))).toBe('MALFORMED_MESSAGE');
    expect(clock.last).toBe(0);
    clock.observe(MAX_HYBRID_TIME);
    expect(clock.tick()).toBe(MAX_HYBRID_TIME + 1);
    expect(clock.tick()).toBe(MAX_HYBRID_TIME + 2);
  });
});
