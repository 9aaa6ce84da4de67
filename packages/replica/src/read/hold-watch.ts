import type { Clock, Timer } from '@antiphon/core';
import type { Health } from '../state/health.js';

/**
 * Whether a replica has been holding, without a break, for so long that another one should go on
 * in its stead. A short hold is usual: a program keeps the database locked for a moment.
 */
export class HoldWatch {
  #timer: Timer | undefined;
  #isLong = false;
  readonly #stop: () => void;

  constructor(
    private readonly health: Pick<Health, 'holding' | 'onState'>,
    private readonly clock: Clock,
    private readonly longMs: number,
    private readonly onLong: () => void,
  ) {
    this.#stop = health.onState(() => this.#look());
    this.#look();
  }

  get isLong(): boolean {
    return this.#isLong;
  }

  #look(): void {
    if (this.health.holding !== undefined) {
      this.#timer ??= this.clock.setTimer(this.longMs, () => {
        this.#isLong = true;
        this.onLong();
      });
      return;
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#isLong = false;
  }

  stop(): void {
    this.#stop();
    this.#timer?.cancel();
  }
}
