import type { SealedMessage } from '@antiphon/core';

const MAX_BYTES = 4 * 1024 * 1024;

type Place = Pick<SealedMessage, 'lastCounter' | 'part'>;

/**
 * The newest sealed messages, as they were committed, so that who publishes them need not read them back: a
 * blob of some hundred kilobytes costs the database more to read than the log takes to store it.
 */
export class RecentMessages {
  readonly #messages: SealedMessage[] = [];
  #bytes = 0;
  /** Everything that was sealed after this is here; undefined: nothing is. */
  #after: Place | undefined;

  /** Of one transaction, in order, after its commit. */
  add(messages: readonly SealedMessage[]): void {
    for (const message of messages) {
      this.#after ??= { lastCounter: message.firstCounter - 1, part: Number.MAX_SAFE_INTEGER };
      this.#messages.push(message);
      this.#bytes += message.data.length;
    }
    while (this.#bytes > MAX_BYTES) this.#forgetOldest();
  }

  /** Those after a place, in order, up to `maxBytes` but at least one; undefined when the database must tell. */
  after(place: Place, maxBytes: number): readonly SealedMessage[] | undefined {
    if (this.#after === undefined || isAfter(this.#after, place)) return undefined;
    const found: SealedMessage[] = [];
    let bytes = 0;
    for (const message of this.#messages) {
      if (!isAfter(message, place)) continue;
      bytes += message.data.length;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(message);
    }
    return found;
  }

  /** Up to `counter` they are forgotten in the database as well. */
  forget(counter: number): void {
    for (let [oldest] = this.#messages; oldest !== undefined; [oldest] = this.#messages) {
      if (oldest.lastCounter > counter) return;
      this.#forgetOldest();
    }
  }

  #forgetOldest(): void {
    const oldest = this.#messages.shift();
    if (oldest === undefined) return;
    this.#bytes -= oldest.data.length;
    this.#after = oldest;
  }
}

function isAfter(a: Place, b: Place): boolean {
  return a.lastCounter > b.lastCounter || (a.lastCounter === b.lastCounter && a.part > b.part);
}
