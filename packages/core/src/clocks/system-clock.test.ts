import { describe, expect, it } from 'vitest';
import { sleep } from '../ports/clock.js';
import { systemClock } from './system-clock.js';

describe('systemClock', () => {
  it('tells the time', () => {
    const clock = systemClock();
    expect(Math.abs(clock.nowMs() - Date.now())).toBeLessThan(1000);
    const before = clock.monotonicMs();
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(before);
    expect(clock.random()).toBeGreaterThanOrEqual(0);
    expect(clock.random()).toBeLessThan(1);
  });

  it('fires a timer once and not inside the call, and not at all when it was cancelled', async () => {
    const clock = systemClock();
    const fired: string[] = [];
    const cancelled = clock.setTimer(0, () => fired.push('cancelled'));
    cancelled.cancel();
    await new Promise<void>((resolve) => {
      clock.setTimer(0, () => {
        fired.push('fired');
        resolve();
      });
      expect(fired).toEqual([]);
    });
    await clock.yield();
    expect(fired).toEqual(['fired']);
  });

  it('does not fire at once what is due in a year', async () => {
    const clock = systemClock();
    let fired = false;
    const timer = clock.setTimer(365 * 86_400_000, () => (fired = true));
    await sleep(clock, 5);
    expect(fired).toBe(false);
    timer.cancel();
  });

  it('gives timers a turn when it yields', async () => {
    const clock = systemClock();
    let fired = false;
    clock.setTimer(0, () => (fired = true));
    for (let turn = 0; turn < 1000 && !fired; turn++) await clock.yield();
    expect(fired).toBe(true);
  });
});
