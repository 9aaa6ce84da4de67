import type { Row } from '../model/value.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { ValueWriter } from './value-writer.js';

/**
 * Rows as the bytes that checksums are taken over: an array of values as `docs/wire.md` writes
 * them, which has one form only. Equal rows are equal bytes on every engine. The buffer is used
 * again.
 */
export class CanonicalRowEncoder {
  private readonly writer: ValueWriter;

  constructor(limits: CodecLimits = DEFAULT_CODEC_LIMITS) {
    this.writer = new ValueWriter(limits);
  }

  get byteLength(): number {
    return this.writer.length;
  }

  /** A row that throws leaves nothing behind. */
  append(row: Row): void {
    const start = this.writer.length;
    try {
      this.writer.writeRow(row);
    } catch (error) {
      this.writer.truncate(start);
      throw error;
    }
  }

  /** What was appended since the last call: a view, valid until the next call of any method. */
  take(): Uint8Array {
    const bytes = this.writer.view(0, this.writer.length);
    this.writer.truncate(0);
    return bytes;
  }
}

export function encodeCanonicalRow(row: Row): Uint8Array {
  const writer = new ValueWriter();
  writer.writeRow(row);
  return writer.slice(0, writer.length);
}
