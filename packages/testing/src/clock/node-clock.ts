import { checkOptions, type Clock, type OptionNames, type Timer } from '@antiphon/core';
import type { Random } from './random.js';

/** How the clock of one machine differs from the true time. */
export interface NodeClockOptions {
  /**
   * Tells its chance from that of other machines.
   * @defaultValue a number
   */
  readonly name?: string;
  /**
   * How far its wall clock is off at the beginning, in milliseconds.
   * @defaultValue 0
   */
  readonly skewMs?: number;
  /**
   * By how many millionths it runs fast (or slow, negative), wall clock and durations alike.
   * @defaultValue 0
   */
  readonly driftPpm?: number;
}

const NODE_OPTIONS: OptionNames<NodeClockOptions> = { name: true, skewMs: true, driftPpm: true };

/**
 * The clock of one simulated machine or process. Its timers and durations drift with it; a jump
 * moves the wall clock only. After `stop` nothing of it happens any more, as in a process that was
 * killed: timers do not fire, yields do not come back.
 */
export class NodeClock implements Clock {
  readonly #timers = new Set<Timer>();
  readonly #rate: number;
  #offsetMs: number;
  #stopped = false;
  #paused = false;
  /** Timers whose time came while it was paused. */
  #held: (() => void)[] = [];

  constructor(
    private readonly time: Clock,
    private readonly chance: Random,
    options: NodeClockOptions,
  ) {
    checkOptions(options, NODE_OPTIONS, 'node()');
    this.#rate = 1 + (options.driftPpm ?? 0) / 1_000_000;
    // The drift counts from now on, not from the beginning of virtual time.
    this.#offsetMs = (options.skewMs ?? 0) - time.monotonicMs() * (this.#rate - 1);
  }

  nowMs(): number {
    const driftMs = this.time.monotonicMs() * (this.#rate - 1);
    return Math.max(0, Math.floor(this.time.nowMs() + driftMs + this.#offsetMs));
  }

  monotonicMs(): number {
    return this.time.monotonicMs() * this.#rate;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    if (this.#stopped) return { cancel: () => undefined };
    const due = (): void => {
      if (this.#paused) return void this.#held.push(due);
      // Cancelled while it was held.
      if (!this.#timers.delete(timer)) return;
      fire();
    };
    const inner = this.time.setTimer(delayMs / this.#rate, due);
    const timer: Timer = {
      cancel: () => {
        this.#timers.delete(timer);
        inner.cancel();
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  yield(): Promise<void> {
    return new Promise((resolve) => void this.setTimer(0, resolve));
  }

  random(): number {
    return this.chance.next();
  }

  /** The wall clock is set, forward or back. */
  jump(byMs: number): void {
    this.#offsetMs += byMs;
  }

  /** The wall clock is set to the true time; it goes on drifting. */
  setRight(): void {
    this.#offsetMs += this.time.nowMs() - this.nowMs();
  }

  /**
   * A process on this machine: shares its time, has timers and chance of its own, is stopped alone.
   */
  process(name: string): NodeClock {
    return new NodeClock(this, this.chance.fork(name), { name });
  }

  /**
   * A process that is stopped for a while (SIGSTOP, a virtual machine that is moved): its time goes
   * on, it does not.
   */
  pause(): void {
    this.#paused = true;
  }

  /** What was due meanwhile comes now, in its order. */
  resume(): void {
    this.#paused = false;
    for (const due of this.#held.splice(0)) this.time.setTimer(0, due);
  }

  /** Ends a simulated process: kills its timers for good. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }
}
