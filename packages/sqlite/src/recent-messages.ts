import type { SealedMessage } from '@antiphon/core';

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_MESSAGES = 4096;

type Place = Pick<SealedMessage, 'lastCounter' | 'part'>;

/**
 * What one transaction has sealed: the newest messages of it, so that a big one does not lie in
 * memory.
 */
export class NewlySealed {
  readonly #messages: SealedMessage[] = [];
  #bytes = 0;
  #skipped: Place | undefined;

  add(message: SealedMessage): void {
    this.#messages.push(message);
    this.#bytes += message.data.length;
    if (this.#bytes <= MAX_BYTES && this.#messages.length <= MAX_MESSAGES) return;
    this.clear();
    this.#skipped = placeOf(message);
  }

  addAll(other: NewlySealed): void {
    if (other.#skipped !== undefined) {
      this.clear();
      this.#skipped = other.#skipped;
    }
    for (const message of other.#messages) this.add(message);
  }

  clear(): void {
    this.#messages.length = 0;
    this.#bytes = 0;
    this.#skipped = undefined;
  }

  /** In order. */
  get messages(): readonly SealedMessage[] {
    return this.#messages;
  }

  /** Up to here something came before `messages` that is not in them. */
  get skipped(): Place | undefined {
    return this.#skipped;
  }
}

/**
 * The newest sealed messages, as they were committed, so that who publishes them need not read them
 * back: a blob of some hundred kilobytes costs the database more to read than the log takes to
 * store it. They are kept until they were asked for once, and die young.
 */
export class RecentMessages {
  #messages: SealedMessage[] = [];
  #bytes = 0;
  /** Everything that was sealed after this is here; undefined: nothing is. */
  #after: Place | undefined;

  /** Of one transaction, after its commit. What is `published` already nobody asks for. */
  add({ messages, skipped }: NewlySealed, published: number): void {
    if (skipped !== undefined) {
      this.#forget(this.#messages.length);
      this.#after = skipped;
    }
    for (const message of messages) {
      this.#after ??= { lastCounter: message.firstCounter - 1, part: Number.MAX_SAFE_INTEGER };
      this.#messages.push(message);
      this.#bytes += message.data.length;
      if (message.lastCounter <= published) this.#forget(this.#messages.length);
    }
    // By halves: one by one, each would cost as much as all that are kept.
    while (this.#bytes > MAX_BYTES || this.#messages.length > MAX_MESSAGES)
      this.#forget(Math.ceil(this.#messages.length / 2));
  }

  /**
   * Those after a place, in order, up to `maxBytes` but at least one; undefined when the database
   * must tell.
   */
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
    if (last !== undefined) this.#after = placeOf(last);
  }
}

function placeOf({ lastCounter, part }: SealedMessage): Place {
  return { lastCounter, part };
}

function isAfter(a: Place, b: Place): boolean {
  return a.lastCounter > b.lastCounter || (a.lastCounter === b.lastCounter && a.part > b.part);
}
