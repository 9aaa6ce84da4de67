import { sleep } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Random } from './random.js';
import { VirtualClock } from './virtual-clock.js';

describe('VirtualClock', () => {
  it('fires timers in the order of time, then of insertion', async () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const at = (ms: number, name: string): unknown =>
      clock.setTimer(ms, () => fired.push(`${name}@${clock.monotonicMs()}`));
    at(20, 'late');
    at(10, 'first');
    at(10, 'second');
    clock.setTimer(5, () => void fired.push('cancelled')).cancel();
    expect(fired).toEqual([]);
    await clock.advance(15);
    expect(fired).toEqual(['first@10', 'second@10']);
    await clock.advance(5);
    expect(fired).toEqual(['first@10', 'second@10', 'late@20']);
    expect(clock.monotonicMs()).toBe(20);
  });

  it('lets promises run to their end before the next timer', async () => {
    const clock = new VirtualClock();
    const order: string[] = [];
    const work = async (name: string): Promise<void> => {
      await sleep(clock, 10);
      for (let step = 0; step < 50; step++) await Promise.resolve();
      order.push(name);
    };
    const both = Promise.all([work('a'), work('b')]);
    await clock.run(both);
    expect(order).toEqual(['a', 'b']);
  });

  it('gives timers a turn in yield, and time goes on', async () => {
    const clock = new VirtualClock();
    let fired = false;
    clock.setTimer(1, () => (fired = true));
    const spin = async (): Promise<number> => {
      let turns = 0;
      while (!fired) {
        await clock.yield();
        turns++;
      }
      return turns;
    };
    expect(await clock.run(spin())).toBeGreaterThan(10);
  });

  it('waits for a condition or a limit, and says which', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const tick = (): void => {
      count++;
      clock.setTimer(100, tick);
    };
    tick();
    expect(await clock.runUntil(() => count === 5, 10_000)).toBe(true);
    expect(clock.monotonicMs()).toBe(400);
    expect(await clock.runUntil(() => count === 1000, 1000)).toBe(false);
    expect(clock.monotonicMs()).toBe(1400);
    await expect(clock.run(new Promise(() => undefined), 500)).rejects.toThrow(/500 ms/);
  });

  it('repeats its chance with its seed', () => {
    const draw = (seed: number): number[] => {
      const clock = new VirtualClock({ seed });
      return Array.from({ length: 5 }, () => clock.random());
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const value of draw(3)) expect(value >= 0 && value < 1).toBe(true);
  });
});

describe('NodeClock', () => {
  it('is off, runs fast and jumps, by its own', async () => {
    const clock = new VirtualClock({ startMs: 1_000_000 });
    const node = clock.node({ name: 'n', skewMs: -5000, driftPpm: 1000 });
    expect(node.nowMs()).toBe(995_000);
    let firedAtMs = 0;
    node.setTimer(1001, () => (firedAtMs = clock.monotonicMs()));
    await clock.advance(10_000);
    expect(firedAtMs).toBeCloseTo(1000, 3);
    expect(node.nowMs()).toBe(995_000 + 10_010);
    expect(node.monotonicMs()).toBeCloseTo(10_010, 6);
    node.jump(-60_000);
    expect(node.nowMs()).toBe(945_010);
    expect(node.monotonicMs()).toBeCloseTo(10_010, 6);
    node.setRight();
    expect(node.nowMs()).toBe(1_010_000);
    await clock.advance(10_000);
    expect(node.nowMs()).toBe(1_020_010);
  });

  it('ends with its process, and with it alone', async () => {
    const clock = new VirtualClock();
    const machine = clock.node({ name: 'm' });
    const [one, two] = [machine.process('1'), machine.process('2')];
    const fired: string[] = [];
    one.setTimer(10, () => fired.push('one'));
    two.setTimer(10, () => fired.push('two'));
    void one.yield().then(() => fired.push('one came back'));
    one.stop();
    one.setTimer(1, () => fired.push('after the end'));
    await clock.advance(100);
    expect(fired).toEqual(['two']);
  });
});

describe('Random', () => {
  it('spreads evenly, and forks do not move each other', () => {
    const random = new Random(5);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 8000; i++) {
      const index = random.int(0, 3);
      counts[index] = (counts[index] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);
    const [a, b] = [new Random(9), new Random(9)];
    b.fork('x').next();
    expect(a.next()).toBe(b.next());
    expect(a.fork('x').next()).not.toBe(a.fork('y').next());
  });
});
