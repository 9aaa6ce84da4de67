import { setImmediate as turn } from 'node:timers/promises';
import { checkOptions, type Clock, type OptionNames, type Timer } from '@antiphon/core';
import { NodeClock, type NodeClockOptions } from './node-clock.js';
import { Random } from './random.js';
import { TimerQueue } from './timer-queue.js';

/** Where a virtual clock begins. */
export interface VirtualClockOptions {
  /**
   * The seed of everything that is left to chance.
   * @defaultValue 1
   */
  readonly seed?: number | string;
  /**
   * The wall time at the beginning, in milliseconds since 1970.
   * @defaultValue 2020-01-01
   */
  readonly startMs?: number;
}

const CLOCK_OPTIONS: OptionNames<VirtualClockOptions> = { seed: true, startMs: true };
/**
 * In the past: what SQLite captures has the real time, a time in the future counts as now, and so a
 * run does not depend on when it is made.
 */
const DEFAULT_START_MS = Date.UTC(2020, 0, 1);

/**
 * Time that passes only when told to: `advance`, `runUntil`. Timers fire in (time, insertion)
 * order, and after each the promises that it woke run to their end before the next fires, so a
 * program that takes time, timers and chance from here only (and does no real I/O) behaves the same
 * in every run.
 *
 *     const clock = new VirtualClock({ seed: 7 });
 *     const slept = sleep(clock, 60_000);
 *     await clock.advance(60_000);      // returns at once
 *     await slept;
 */
export class VirtualClock implements Clock {
  readonly #timers = new TimerQueue();
  readonly #startUs: number;
  readonly #random: Random;
  #nowUs: number;
  #fired = 0;
  #nodes = 0;

  constructor(options: VirtualClockOptions = {}) {
    checkOptions(options, CLOCK_OPTIONS, 'VirtualClock');
    this.#startUs = Math.round((options.startMs ?? DEFAULT_START_MS) * 1000);
    this.#nowUs = this.#startUs;
    this.#random = new Random(options.seed ?? 1);
  }

  nowMs(): number {
    return Math.floor(this.#nowUs / 1000);
  }

  monotonicMs(): number {
    return (this.#nowUs - this.#startUs) / 1000;
  }

  /** Timers fired so far: the length of a run. */
  get fired(): number {
    return this.#fired;
  }

  /** At least a microsecond later, so that a loop of immediate timers cannot hold time still. */
  setTimer(delayMs: number, fire: () => void): Timer {
    const delayUs = Math.max(1, Math.round(delayMs * 1000));
    const timer = this.#timers.add(this.#nowUs + delayUs, fire);
    return {
      cancel: () => {
        timer.cancelled = true;
      },
    };
  }

  yield(): Promise<void> {
    return new Promise((resolve) => void this.setTimer(0, resolve));
  }

  random(): number {
    return this.#random.next();
  }

  /** The clock of one machine: its own skew, drift, jumps and chance, driven by this one. */
  node(options: NodeClockOptions = {}): NodeClock {
    const name = options.name ?? String(++this.#nodes);
    return new NodeClock(this, this.#random.fork(`node ${name}`), options);
  }

  /** Lets promises run until all of them wait for a timer. Time stands still. */
  async settle(): Promise<void> {
    // Microtasks all run before the next macrotask, however many they make.
    await turn();
  }

  /**
   * Fires everything due within `ms`, then stands at the end of it. What a timer throws comes out
   * here.
   */
  async advance(ms: number): Promise<void> {
    await this.runUntil(() => false, ms);
  }

  /** Until the condition holds, looked at after every timer; false when `limitMs` passed before. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const endUs = this.#nowUs + Math.round(limitMs * 1000);
    await this.settle();
    while (!condition()) {
      const next = this.#timers.peek();
      if (next === undefined || next.atUs > endUs) {
        this.#nowUs = endUs;
        return false;
      }
      await this.#fireNext();
    }
    return true;
  }

  /**
   * Waits for a promise while time passes; throws what it rejects with, or an error after
   * `limitMs`.
   */
  async run<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let settled = false;
    const note = (): void => {
      settled = true;
    };
    promise.then(note, note);
    if (await this.runUntil(() => settled, limitMs)) return await promise;
    throw new Error(`still waiting after ${limitMs} ms of virtual time`);
  }

  async #fireNext(): Promise<void> {
    const timer = this.#timers.take();
    if (timer === undefined) return;
    this.#nowUs = timer.atUs;
    this.#fired++;
    timer.fire();
    await this.settle();
  }
}
