import type { Clock } from '@antiphon/core';

/** Until when library writes wait. It ends by itself: whoever asked for it may be gone. */
export class WriteHold {
  /** Monotonic. */
  #untilMs = 0;
  /** The epoch that a hand-over ends, where one holds them. */
  #epoch: number | undefined;

  constructor(private readonly clock: Clock) {}

  get isOn(): boolean {
    return this.#untilMs > this.clock.monotonicMs();
  }

  begin(holdMs: number): void {
    // A hand-over has its own time.
    if (!this.isOn || this.#epoch === undefined) this.#set(holdMs, undefined);
  }

  beginHandOver(epoch: number, holdMs: number): void {
    this.#set(holdMs, epoch);
  }

  /** Of the hand-over of that epoch, or of nobody's: what another one holds stays held. */
  end(epoch: number | undefined): void {
    if (epoch === this.#epoch) this.#set(-Infinity, undefined);
  }

  #set(holdMs: number, epoch: number | undefined): void {
    this.#untilMs = this.clock.monotonicMs() + holdMs;
    this.#epoch = epoch;
  }
}
