import type { Message, ModelLog } from './model-log.js';

/** The numbers in one writer's database. */
export class ModelDatabase {
  positionSeq = 0;
  /** The last own counter that was given away. */
  lastCounter = 0;
  /** Own counters that the log has in order, up to the position. */
  ownLogCounter = 0;
  isFull = false;
  /** What each own counter stands for here. */
  readonly numbered = new Map<number, string>();
  /** Written by other programs, not numbered. */
  captured: string[] = [];
  /** Numbered, not sent. */
  unsent: { readonly counter: number; readonly name: string }[] = [];
  readonly #outcomes = new Map<number, string>();
  /** Up to here, every own counter is in this database. */
  #ownCounter = 0;

  constructor(private readonly violated: (what: string) => void) {}

  get ownCounter(): number {
    while (this.numbered.has(this.#ownCounter + 1)) this.#ownCounter++;
    return this.#ownCounter;
  }

  seal(): void {
    for (const name of this.captured.splice(0)) {
      const counter = ++this.lastCounter;
      this.numbered.set(counter, name);
      this.unsent.push({ counter, name });
    }
  }

  send(log: ModelLog): void {
    for (const { counter, name } of this.unsent.splice(0)) {
      const content = [name];
      const readSeq = this.positionSeq;
      log.append(
        { firstCounter: counter, lastCounter: counter, token: undefined, content, readSeq },
        undefined,
      );
    }
  }

  /** A message that the log has at `seq` is committed here. */
  hold({ firstCounter, lastCounter, content, token }: Message, seq: number): void {
    for (const [index, name] of content.entries()) {
      const counter = firstCounter + index;
      const before = this.numbered.get(counter);
      if (before !== undefined && before !== name)
        this.violated(`I2: ${counter} stands for ${before} here, and for ${name} at ${seq}`);
      this.numbered.set(counter, name);
    }
    if (token !== undefined) this.#outcomes.set(firstCounter, token);
    this.lastCounter = Math.max(this.lastCounter, lastCounter);
    this.ownLogCounter = Math.max(this.ownLogCounter, lastCounter);
  }

  outcomeOf(counter: number): string | undefined {
    return this.#outcomes.get(counter);
  }
}
