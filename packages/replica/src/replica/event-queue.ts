/**
 * Events that nobody has read yet, the oldest first. At the limit the oldest is dropped, and
 * counted.
 */
export class EventQueue<T> {
  readonly #events: T[] = [];
  #dropped = 0;
  #wake: (() => void) | undefined;

  constructor(private readonly limit: number) {}

  push(event: T): void {
    if (this.#events.length >= this.limit) {
      this.#events.shift();
      this.#dropped++;
    }
    this.#events.push(event);
    this.wake();
  }

  take(): T | undefined {
    return this.#events.shift();
  }

  /** How many were dropped since it was asked last: they came before what `take` returns next. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** Whoever waits looks again. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Resolves at the next `push` or `wake`. For one reader. */
  woken(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
