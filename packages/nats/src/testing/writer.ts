import type { Log } from '@antiphon/core';
import { appendSurely } from './fixture.js';

/** Appends one entry after the other, each until it is stored, as fast as the log takes them. */
export class Writer {
  readonly ids: string[] = [];
  #running = true;
  readonly #done: Promise<void>;

  constructor(
    private readonly log: Log,
    private readonly name: string,
  ) {
    this.#done = this.#write();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #write(): Promise<void> {
    for (let n = 1; this.#running; n += 1) {
      const id = `${this.name}:${n}`;
      await appendSurely(this.log, id);
      this.ids.push(id);
    }
  }
}
