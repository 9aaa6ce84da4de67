/** So long a command may say nothing without saying why. */
const SILENCE_MS = 1000;

/** Says what a command waits for, when it has written nothing for a second. */
export class Silence {
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly say: (text: string) => void) {}

  /** From now on it waits for that: `NATS to answer`. Replaces what was given before. */
  waitingFor(what: string): void {
    this.end();
    this.#timer = setTimeout(() => this.say(`Waiting for ${what} …\n`), SILENCE_MS);
    // It waits for nothing itself.
    this.#timer.unref();
  }

  /** Something was written. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
