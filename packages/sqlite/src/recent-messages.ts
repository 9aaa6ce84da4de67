import type { SealedMessage } from '@antiphon/core';

const MAX_BYTES = 4 * 1024 * 1024;

type Place = Pick<SealedMessage, 'lastCounter' | 'part'>;

/**
 * The newest sealed messages, as they were committed, so that who publishes them need not read them back: a
 * blob of some hundred kilobytes costs the database more to read than the log takes to store it. They are kept
 * until they were asked for once, and die young.
 */
export class RecentMessages {
  #messages: SealedMessage[] = [];
  #bytes = 0;
  /** Everything that was sealed after this is here; undefined: nothing is. */
  #after: Place | undefined;

  /** Of one transaction, in order, after its commit. What is `published` already nobody asks for. */
  add(messages: readonly SealedMessage[], published: number): void {
    for (const message of messages) {
      this.#after ??= { lastCounter: message.firstCounter - 1, part: Number.MAX_SAFE_INTEGER };
      this.#messages.push(message);
      this.#bytes += message.data.length;
      if (message.lastCounter <= published) this.#forget(this.#messages.length);
    }
    while (this.#bytes > MAX_BYTES) this.#forget(1);
  }

  /** Those after a place, in order, up to `maxBytes` but at least one; undefined when the database must tell. */
  take(place: Place, maxBytes: number): readonly SealedMessage[] | undefined {
    if (this.#after === undefined || isAfter(this.#after, place)) return undefined;
    const from = this.#messages.findIndex((message) => isAfter(message, place));
    if (from < 0) return [];
    let end = from;
    for (let bytes = 0; end < this.#messages.length; end++) {
      bytes += this.#messages[end]?.data.length ?? 0;
      if (end > from && bytes > maxBytes) break;
    }
    const taken = this.#messages.slice(from, end);
    this.#forget(end);
    return taken;
  }

  #forget(count: number): void {
    const forgotten = this.#messages.splice(0, count);
    for (const { data } of forgotten) this.#bytes -= data.length;
    // Not the message itself, which would keep its bytes.
    const last = forgotten.at(-1);
    if (last !== undefined) this.#after = { lastCounter: last.lastCounter, part: last.part };
  }
}

function isAfter(a: Place, b: Place): boolean {
  return a.lastCounter > b.lastCounter || (a.lastCounter === b.lastCounter && a.part > b.part);
}
