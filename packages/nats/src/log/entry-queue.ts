import type { LogEntry } from '@antiphon/core';

/** An entry's object, its view on the received chunk, and its place in the queue. */
const ENTRY_OVERHEAD_BYTES = 200;

interface Limits {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/**
 * First in, first out. Whoever fills it keeps the limit: it asks for no more than there is room
 * for.
 */
export class EntryQueue {
  #entries: LogEntry[] = [];
  #head = 0;
  #bytes = 0;

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(entry: LogEntry): void {
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
  }

  /** The next entries up to the limits; at least one when there is any. */
  take({ maxEntries, maxBytes }: Limits): readonly LogEntry[] {
    let end = this.#head;
    let dataBytes = 0;
    for (; end < this.#entries.length; end += 1) {
      const entry = this.#entries[end];
      if (entry === undefined) break;
      const first = end === this.#head;
      if (!first && (end - this.#head >= maxEntries || dataBytes + entry.data.length > maxBytes)) break;
      dataBytes += entry.data.length;
      this.#bytes -= sizeOf(entry);
    }
    if (this.#head === 0 && end === this.#entries.length) {
      const all = this.#entries;
      this.#entries = [];
      return all;
    }
    const taken = this.#entries.slice(this.#head, end);
    this.#head = end;
    this.#dropTaken();
    return taken;
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  /** Taken entries stay referenced until here; half of the array is the most that may be dead. */
  #dropTaken(): void {
    if (this.#head < this.#entries.length / 2) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }
}

function sizeOf(entry: LogEntry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}
