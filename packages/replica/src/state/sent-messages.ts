import { crc32 } from 'node:zlib';

/** What the feed is behind the relay by more than this is compared with the outbox. */
const MAX_KEPT = 32_768;

/**
 * Messages that this process itself published, so that the feed knows them again without asking the
 * database.
 */
export class SentMessages {
  readonly #sums = new Set<number>();
  #attempts = 0;

  /**
   * Numbers the relay's attempts, over its restarts as well: an id that was used once must never be
   * used for a repetition.
   */
  nextAttempt(): number {
    return ++this.#attempts;
  }

  add(data: Uint8Array): void {
    this.#sums.add(crc32(data));
    if (this.#sums.size <= MAX_KEPT) return;
    for (const oldest of this.#sums) {
      this.#sums.delete(oldest);
      break;
    }
  }

  has(data: Uint8Array): boolean {
    return this.#sums.has(crc32(data));
  }
}
