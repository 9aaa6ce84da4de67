import type { Gap } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Positions } from './positions.js';

/** Positions over a database that is told what it has committed. */
class Bench {
  readonly clock = new VirtualClock();
  #state: { position: { generation: string; seq: number }; gaps: readonly Gap[] };
  readonly positions: Positions;

  constructor(seq = 0) {
    this.#state = { position: { generation: 'g', seq }, gaps: [] };
    this.positions = new Positions(() => this.#state, this.clock);
  }

  /** The database has dealt with everything up to here; in memory only. */
  pass(seq: number): void {
    const { position } = this.#state;
    this.#state = { ...this.#state, position: { ...position, seq: Math.max(seq, position.seq) } };
  }

  commit(seq: number, gaps = this.#state.gaps): void {
    this.pass(seq);
    this.#state = { ...this.#state, gaps };
    this.positions.commit(this.#state.position.seq);
  }

  get seq(): number {
    return this.#state.position.seq;
  }
}

function gapAt(seq: number): Gap {
  return { origin: 'b', expected: 4, found: 5, seq, reason: 'a test' };
}

function inOrder({ durable, applied, passed, observed, end }: Positions): boolean {
  return durable <= applied && applied <= passed && passed <= end && observed <= end;
}

const seq = fc.integer({ min: 0, max: 50 });
const step = fc.oneof(
  fc.record({ do: fc.constant('pass' as const), seq }),
  fc.record({ do: fc.constant('commit' as const), seq }),
  fc.record({ do: fc.constant('gap' as const), seq }),
  fc.record({ do: fc.constant('no-gap' as const), seq }),
  fc.record({ do: fc.constant('observe' as const), seq }),
  fc.record({ do: fc.constant('end' as const), seq }),
  fc.record({ do: fc.constant('skip' as const), seq: fc.constant(1) }),
);

describe('how fresh it is', () => {
  it('I12: as of when the log was asked how far it goes, once all of that is applied', async () => {
    const bench = new Bench();
    const { positions, clock } = bench;
    expect(positions.freshAtMs).toBe(-Infinity);
    await clock.advance(100);
    positions.sawEnd(5, clock.monotonicMs());
    await clock.advance(30);
    expect(positions.freshAtMs).toBe(-Infinity);
    bench.commit(5);
    expect(positions.freshAtMs).toBe(100);
  });

  it('keeps what an earlier look has proved, and forgets none between two looks', async () => {
    const bench = new Bench();
    const { positions, clock } = bench;
    await clock.advance(10);
    positions.sawEnd(3, clock.monotonicMs());
    bench.commit(3);
    await clock.advance(40);
    positions.sawEnd(9, clock.monotonicMs());
    expect(positions.freshAtMs).toBe(10);
    bench.commit(9, [gapAt(7)]);
    expect(positions.freshAtMs, 'entry 7 is missing').toBe(10);
    positions.sawEnd(5, 3);
    expect(positions.freshAtMs, 'an older answer').toBe(10);
  });

  it('is as old as it lags, however often the log is looked at meanwhile', async () => {
    const bench = new Bench();
    const { positions, clock } = bench;
    for (let second = 0; second < 300; second++) {
      positions.sawEnd(second, clock.monotonicMs());
      bench.commit(second - 5);
      await clock.advance(1000);
      if (second >= 5) expect(clock.monotonicMs() - positions.freshAtMs).toBe(6000);
    }
    for (let second = 300; second < 900; second++) {
      positions.sawEnd(second, clock.monotonicMs());
      await clock.advance(1000);
    }
    bench.commit(600);
    expect(clock.monotonicMs() - positions.freshAtMs, 'coarser').toBeLessThan(330_000);
    bench.commit(899);
    expect(clock.monotonicMs() - positions.freshAtMs).toBeLessThan(30_000);
    positions.sawEnd(899, clock.monotonicMs());
    expect(clock.monotonicMs() - positions.freshAtMs).toBe(0);
  });

  it('takes no end for news that nobody asked for', () => {
    const bench = new Bench();
    bench.positions.sawEnd(0);
    expect(bench.positions.freshAtMs).toBe(-Infinity);
  });
});

describe('positions', () => {
  it('I6: durable ≤ applied ≤ passed ≤ end, and observed ≤ end, whatever happens in which order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const bench = new Bench();
        const { positions } = bench;
        for (const one of steps) {
          const { passed, observed } = positions;
          if (one.do === 'pass') bench.pass(one.seq);
          else if (one.do === 'commit') bench.commit(one.seq);
          else if (one.do === 'gap') bench.commit(bench.seq, [gapAt(one.seq), gapAt(bench.seq)]);
          else if (one.do === 'no-gap') bench.commit(bench.seq, []);
          else if (one.do === 'observe') positions.observe(one.seq);
          else if (one.do === 'end') positions.sawEnd(one.seq);
          else positions.skip(one.seq);
          expect(inOrder(positions)).toBe(true);
          expect(positions.passed).toBeGreaterThanOrEqual(passed);
          expect(positions.observed).toBeGreaterThanOrEqual(observed);
        }
      }),
      { numRuns: 500, seed: 8 },
    );
  });

  it('I6: nothing from a gap on is acknowledged, from the very commit that notes the gap', () => {
    const bench = new Bench(6);
    bench.commit(9, [gapAt(8)]);
    expect(bench.positions).toMatchObject({ durable: 7, applied: 7, passed: 9 });
    bench.commit(12, []);
    expect(bench.positions).toMatchObject({ durable: 12, applied: 12, passed: 12 });
  });

  it('what was passed and is not on the disk counts as applied, and is not acknowledged', () => {
    const bench = new Bench(3);
    bench.pass(5);
    expect(bench.positions).toMatchObject({ durable: 3, applied: 5, passed: 5, end: 5 });
    bench.commit(5);
    expect(bench.positions.durable).toBe(5);
  });

  it("the log's own first record is passed, though no database has it", () => {
    const { positions } = new Bench();
    positions.sawEnd(1);
    expect(positions.lagEntries).toBe(1);
    positions.skip(1);
    expect(positions).toMatchObject({ passed: 1, durable: 0, lagEntries: 0 });
  });

  it('the end falls with the log, but not below what was seen of it', () => {
    const bench = new Bench(2);
    const ends: number[] = [];
    const stop = bench.positions.onEnd((end) => ends.push(end));
    bench.positions.sawEnd(9);
    bench.positions.observe(4);
    bench.positions.sawEnd(3);
    stop();
    bench.positions.sawEnd(7);
    expect([ends, bench.positions.end]).toEqual([[9, 3], 7]);
    bench.positions.sawEnd(3);
    expect(bench.positions).toMatchObject({ end: 4, lagEntries: 2 });
  });

  it('tells for how long it has been behind', async () => {
    const bench = new Bench(2);
    bench.positions.sawEnd(3);
    await bench.clock.advance(1500);
    expect(bench.positions.lagSeconds).toBe(1.5);
    bench.pass(3);
    expect(bench.positions.lagSeconds).toBe(0);
    bench.positions.inStep();
    bench.positions.sawEnd(4);
    await bench.clock.advance(500);
    expect(bench.positions).toMatchObject({ lagSeconds: 0.5, endSeenAtMs: expect.any(Number) as unknown });
  });
});
