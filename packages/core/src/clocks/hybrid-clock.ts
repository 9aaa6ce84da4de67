import { AntiphonError } from '../errors/antiphon-error.js';
import type { Clock } from '../ports/clock.js';

/**
 * Times above this (in the year 2255) are refused: a clock that followed one could soon not count
 * on exactly.
 */
export const MAX_HYBRID_TIME = 9_000_000_000_000_000;

/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) folded into one integer:
 * microseconds since 1970, wall milliseconds × 1000, counted up by one when the wall clock has not
 * moved on. Stays an exact JavaScript number until the year 2255, and compares with `<`.
 */
export class HybridClock {
  #last = 0;

  constructor(
    private readonly clock: Pick<Clock, 'nowMs'>,
    /**
     * Where the time comes from that changes are given; it may refuse to give one, and nothing
     * moves then.
     */
    private readonly source: Pick<Clock, 'nowMs'> = clock,
  ) {}

  /**
   * A time later than every one given or observed before. `count` reserves that many consecutive
   * microseconds.
   */
  tick(count = 1): number {
    const first = Math.max(this.#last + 1, Math.floor(this.source.nowMs() * 1000));
    this.#last = first + count - 1;
    return first;
  }

  /**
   * For what was written at `writtenMs` by this machine's wall clock: not later than that, unless
   * something later was given or observed before. A time in the future counts as now.
   */
  tickAt(writtenMs: number): number {
    this.#last = this.timeAt(writtenMs);
    return this.#last;
  }

  /**
   * What `tickAt` would give. The clock stays where it is: the next time given may be the same, or
   * an earlier one.
   */
  timeAt(writtenMs: number): number {
    const agoMs = Math.max(0, this.clock.nowMs() - writtenMs);
    return Math.max(this.#last + 1, Math.floor((this.source.nowMs() - agoMs) * 1000));
  }

  /** By how much the source of times is ahead of this machine's wall clock. */
  get sourceAheadMs(): number {
    return this.source.nowMs() - this.clock.nowMs();
  }

  /**
   * The next time, whatever the wall clock says; for what changes no row, so that nobody loses
   * against it. Never refused.
   */
  tickIdle(): number {
    return ++this.#last;
  }

  /**
   * Follows a time that another replica gave, always: a write made here after seeing that row must
   * be later than it. Returns by how many milliseconds it is ahead of the wall clock; refusing
   * absurd ones is the caller's (skew guard).
   */
  observe(time: number): number {
    if (!Number.isSafeInteger(time) || time < 0 || time > MAX_HYBRID_TIME) {
      throw new AntiphonError(
        'MALFORMED_MESSAGE',
        `A hybrid time is an integer from 0 to ${MAX_HYBRID_TIME}, not ${time}.`,
      );
    }
    if (time > this.#last) this.#last = time;
    return time / 1000 - this.clock.nowMs();
  }

  /** Never gives a time at or before `time` from now on; for what the own database or log holds. */
  restore(time: number): void {
    if (time > this.#last) this.#last = time;
  }

  /**
   * Takes back every time given since `last` was the latest: they are nowhere, their transaction
   * was undone. Whoever was given one must not use it any more.
   */
  giveBack(last: number): void {
    if (last < this.#last) this.#last = last;
  }

  /** This machine's wall clock, right or wrong. */
  get wallMs(): number {
    return this.clock.nowMs();
  }

  get last(): number {
    return this.#last;
  }
}
