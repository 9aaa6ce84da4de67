import type { Surroundings } from './surroundings.js';

/** Cuts long work into slices, so that timers and messages get their turn in between. */
export class Pace {
  #sliceEnd: number;

  constructor(
    private readonly surroundings: Pick<Surroundings, 'monotonicMs'>,
    private readonly sliceMs: number,
    private readonly giveWay: () => Promise<void>,
  ) {
    this.#sliceEnd = surroundings.monotonicMs() + sliceMs;
  }

  /** For work that nobody gave a pace: slices of 8 ms. */
  static ordinary(surroundings: Pick<Surroundings, 'monotonicMs' | 'turn'>): Pace {
    return new Pace(surroundings, 8, () => surroundings.turn());
  }

  due(): boolean {
    return this.surroundings.monotonicMs() >= this.#sliceEnd;
  }

  async rest(): Promise<void> {
    await this.giveWay();
    this.#sliceEnd = this.surroundings.monotonicMs() + this.sliceMs;
  }
}
