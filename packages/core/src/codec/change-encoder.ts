import type { Row, Value } from '../model/value.js';
import { ChangeWriter } from './change-writer.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { ValueWriter } from './value-writer.js';

/**
 * The changes of one big transaction as bytes, to be cut into parts wherever a part is full: `take`
 * what is there as soon as `byteLength` is enough, and the rest at the end. Memory stays at a part
 * and a row.
 */
export class ChangeEncoder {
  private readonly writer: ValueWriter;
  private readonly changes: ChangeWriter;
  /**
   * What was taken from the front. It is moved away only now and then: one huge value is taken in
   * many pieces.
   */
  private taken = 0;

  constructor(limits: CodecLimits = DEFAULT_CODEC_LIMITS) {
    this.writer = new ValueWriter(limits);
    this.changes = new ChangeWriter(this.writer, limits);
  }

  /** Bytes that were not taken yet. */
  get byteLength(): number {
    return this.writer.length - this.taken;
  }

  /** The changes from here on were made so many microseconds before their transaction's time. */
  earlier(us: number): void {
    this.changes.earlier(us);
  }

  insert(table: number, row: Row): void {
    this.changes.insert(table, row);
  }

  update(table: number, row: Row, changed: readonly number[], before: readonly Value[]): void {
    this.changes.update(table, row, changed, before);
  }

  delete(table: number, row: Row): void {
    this.changes.delete(table, row);
  }

  /**
   * Removes up to `maxBytes` from the front and returns them as a copy; empty when there are none.
   */
  take(maxBytes: number): Uint8Array {
    const start = this.taken;
    const end = Math.min(start + maxBytes, this.writer.length);
    const bytes = this.writer.slice(start, end);
    this.taken = end;
    if (end * 2 >= this.writer.length) {
      this.writer.dropFront(end);
      this.taken = 0;
    }
    return bytes;
  }
}
