import type { LogEntry, LogReader } from '@antiphon/core';

/** Reads all the time; fails when a number is missing or comes twice. */
export class Follower {
  readonly entries: LogEntry[] = [];
  failure: unknown;
  #next = 2;

  constructor(private readonly reader: LogReader) {
    void this.#follow();
  }

  get lastSeq(): number {
    return this.#next - 1;
  }

  get ids(): string[] {
    return this.entries.map(({ data }) => new TextDecoder().decode(data));
  }

  async #follow(): Promise<void> {
    try {
      for (;;) {
        for (const entry of await this.reader.next({ maxEntries: 100, maxBytes: 100_000 })) {
          if (entry.seq !== this.#next) throw new Error(`entry ${entry.seq} came instead of ${this.#next}`);
          this.#next += 1;
          this.entries.push(entry);
        }
        this.reader.ack(this.lastSeq);
      }
    } catch (error) {
      this.failure = error;
    }
  }
}
