import type { RegisterValue } from './operation.js';
import type { Step } from './register-history.js';

/**
 * How far an order has got: which operations have taken effect, and what the register holds.
 * Operations are numbered in the order of invocation. Everything from `next` on has not taken
 * effect; before it, only `pending` has not. Those overlap each other, so the set stays as small as
 * the concurrency however long the history is.
 */
export class Configuration {
  readonly #required: readonly Step[];
  readonly #pending: readonly number[];
  readonly #next: number;
  /** The unknown operations that have taken effect, ascending. */
  readonly used: readonly number[];
  readonly value: RegisterValue;
  /** Which operations may come next: those that began before any other that is left ended. */
  readonly candidates: readonly number[];
  readonly earliestCompletionMs: number;

  private constructor(
    required: readonly Step[],
    pending: readonly number[],
    next: number,
    used: readonly number[],
    value: RegisterValue,
  ) {
    this.#required = required;
    this.#pending = pending;
    this.#next = next;
    this.used = used;
    this.value = value;
    let earliest = Infinity;
    for (const index of pending) earliest = Math.min(earliest, required[index]?.completedAtMs ?? Infinity);
    const candidates = [...pending];
    for (let index = next; index < required.length; index++) {
      const step = required[index];
      if (step === undefined || step.invokedAtMs > earliest) break;
      candidates.push(index);
      earliest = Math.min(earliest, step.completedAtMs);
    }
    this.candidates = candidates;
    this.earliestCompletionMs = earliest;
  }

  static start(required: readonly Step[], value: RegisterValue): Configuration {
    return new Configuration(required, [], 0, [], value);
  }

  get isComplete(): boolean {
    return this.#pending.length === 0 && this.#next === this.#required.length;
  }

  /** Equal exactly for equal configurations. */
  get name(): string {
    return `${this.#next}:${this.#pending.join()}:${this.used.join()}:${JSON.stringify(this.value)}`;
  }

  /** Has this operation still to take effect? */
  isLeft(index: number): boolean {
    return index >= this.#next || this.#pending.includes(index);
  }

  get pending(): readonly number[] {
    return this.#pending;
  }

  /** After these candidates, ascending, took effect. */
  afterRequired(taken: readonly number[], value: RegisterValue): Configuration {
    const gone = new Set(taken);
    const next = Math.max(this.#next, (taken.at(-1) ?? -1) + 1);
    const pending = this.candidates.filter((index) => index < next && !gone.has(index));
    return new Configuration(this.#required, pending, next, this.used, value);
  }

  afterOptional(index: number, value: RegisterValue): Configuration {
    const used = [...this.used, index].sort((one, other) => one - other);
    return new Configuration(this.#required, this.#pending, this.#next, used, value);
  }
}
