import type { Clock } from '@antiphon/core';

export const DEFAULT_TURN_BUDGET_MS = 10;
/** Also ends a slice where time stands still while it runs: a simulation. */
const MAX_MESSAGES_PER_SLICE = 10_000;
/** After so many messages in a row, an actor lets the others of its system go on. */
const MESSAGES_PER_BURST = 64;

/**
 * Messages are handled in microtasks, which timers and I/O never interrupt, so all actors of a
 * system together get one slice of time, after which they wait for timers and I/O. Shared, since
 * two actors that keep answering each other starve the rest as well as one with a full mailbox
 * does.
 */
export class TurnBudget {
  /** Resolves when timers and I/O have had their turn; undefined between slices. */
  #slice: Promise<void> | undefined;
  #startedMs = 0;
  #handled = 0;

  constructor(
    private readonly clock: Clock,
    private readonly budgetMs: number,
  ) {}

  /** To call before each message. */
  begin(): void {
    if (this.#slice !== undefined) return;
    this.#startedMs = this.clock.monotonicMs();
    this.#handled = 0;
    this.#slice = this.clock.yield().then(() => {
      this.#slice = undefined;
    });
  }

  /** To call after each message: what to wait for before the next one, if anything. */
  spend(): Promise<void> | undefined {
    this.#handled++;
    const spent =
      this.#handled >= MAX_MESSAGES_PER_SLICE || this.clock.monotonicMs() - this.#startedMs >= this.budgetMs;
    if (spent) return this.#slice;
    return this.#handled % MESSAGES_PER_BURST === 0 ? Promise.resolve() : undefined;
  }
}
