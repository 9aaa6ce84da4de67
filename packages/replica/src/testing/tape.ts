/**
 * Choices that were made beforehand, so that a run that goes wrong can be made shorter. 0 is always
 * the choice in which nothing goes wrong, and what a tape says behind its end.
 */
export class Tape {
  #at = 0;

  constructor(private readonly choices: readonly number[]) {}

  get isOver(): boolean {
    return this.#at >= this.choices.length;
  }

  /** From 0 to `options` - 1. */
  pick(options: number): number {
    const choice = this.choices[this.#at] ?? 0;
    this.#at++;
    return choice % options;
  }
}
