import type { DictionaryTable } from '../model/transaction.js';

/** Origins of one cluster mostly touch the same few combinations of tables. */
const MAX_ENTRIES = 8;
const MAX_ENTRY_BYTES = 32_768;

interface Entry {
  readonly bytes: Buffer;
  readonly tables: readonly DictionaryTable[];
}

/**
 * Dictionaries that were read lately, by their bytes: nearly every batch repeats the one before,
 * and reading it would cost more than its changes. The same bytes give the same (frozen) object, so
 * stores may key prepared statements by it.
 */
export class DictionaryCache {
  private entries: readonly Entry[] = [];

  /**
   * The entry that the bytes at `at` begin with. A dictionary is self-delimiting, so that a prefix
   * match is a match.
   */
  readonly find = (data: Buffer, at: number, end: number): Entry | undefined => {
    for (const entry of this.entries) {
      const stop = at + entry.bytes.length;
      if (stop <= end && data.compare(entry.bytes, 0, entry.bytes.length, at, stop) === 0) {
        if (entry !== this.entries[0]) this.moveToFront(entry);
        return entry;
      }
    }
    return undefined;
  };

  /** Remembers a copy of the bytes; the oldest entry makes room. */
  add(bytes: Uint8Array, tables: readonly DictionaryTable[]): void {
    if (bytes.length > MAX_ENTRY_BYTES) return;
    this.moveToFront({ bytes: Buffer.from(bytes), tables });
  }

  private moveToFront(first: Entry): void {
    this.entries = [first, ...this.entries.filter((entry) => entry !== first)].slice(0, MAX_ENTRIES);
  }
}
