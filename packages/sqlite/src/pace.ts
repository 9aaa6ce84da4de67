/** Cuts long work into slices, so that timers and messages get their turn in between. */
export class Pace {
  #sliceEnd: number;

  constructor(
    private readonly sliceMs: number,
    private readonly giveWay: () => Promise<void>,
  ) {
    this.#sliceEnd = performance.now() + sliceMs;
  }

  /** For work that nobody gave a pace: slices of 8 ms. */
  static ordinary(): Pace {
    return new Pace(8, () => new Promise((resolve) => setImmediate(resolve)));
  }

  due(): boolean {
    return performance.now() >= this.#sliceEnd;
  }

  async rest(): Promise<void> {
    await this.giveWay();
    this.#sliceEnd = performance.now() + this.sliceMs;
  }
}
