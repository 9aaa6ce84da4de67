/**
 * What the database gives up before own transactions come back to it from the log. Not while a
 * table has changes that nobody captured, or another shape: what lies on top of them cannot be
 * undone. The start leaves it then, and it comes before the first entry that is applied.
 */
export class OwnReturn {
  #isPending = true;

  /** `giveUp` may be called again after it failed half-way. */
  constructor(private readonly giveUp: () => Promise<void>) {}

  get isPending(): boolean {
    return this.#isPending;
  }

  /** Rejects as `Store.rewind` does. */
  async finish(): Promise<void> {
    if (!this.#isPending) return;
    await this.giveUp();
    this.#isPending = false;
  }
}
