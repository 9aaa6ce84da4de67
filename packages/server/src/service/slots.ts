import type { ServerResponse } from 'node:http';
import { AntiphonError } from '@antiphon/core';
import { whenOver } from '../http/when-over.js';

/** So many at once; nobody waits in a queue here. */
export class Slots {
  #taken = 0;

  constructor(
    private readonly limit: number,
    /** `requests`, for the message. */
    private readonly what: string,
  ) {}

  get taken(): number {
    return this.#taken;
  }

  /**
   * The same, until the answer has gone out as well: one that a client does not take is kept in
   * memory.
   */
  takeFor(response: ServerResponse): () => void {
    const release = this.take();
    return () => whenOver(response, release);
  }

  /** Throws OVERLOADED. What it returns gives the place back, once. */
  take(): () => void {
    if (this.#taken >= this.limit) {
      const message = `This server has its limit of ${this.limit} ${this.what} at once. Try again in a moment.`;
      throw new AntiphonError('OVERLOADED', message);
    }
    this.#taken += 1;
    let isOpen = true;
    return () => {
      if (isOpen) this.#taken -= 1;
      isOpen = false;
    };
  }
}
