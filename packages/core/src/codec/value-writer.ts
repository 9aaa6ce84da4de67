import { AntiphonError } from '../errors/antiphon-error.js';
import { TaggedValue, type Row, type Value } from '../model/value.js';
import { EXT_TYPE_OF_TAG } from './format.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { isWellFormed, writeUtf8 } from './utf8.js';

const INITIAL_BYTES = 16_384;
/** A buffer that grew beyond this for one huge value is given back at the next reset. */
const KEPT_BYTES = 2_097_152;
/** Above this a text's size is asked for first, instead of reserving three bytes per code unit. */
const MEASURED_TEXT_LENGTH = 4096;
/** Up to here a loop over the characters is quicker than a call into native code. */
const LOOPED_TEXT_LENGTH = 20;

/**
 * Writes MessagePack into one growing buffer that is used again and again. Integers take the
 * smallest form, floats always eight bytes, so that integer 5 and float 5.0 stay apart
 * (docs/decisions/0002-own-msgpack-reader.md).
 */
export class ValueWriter {
  private buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  private dataView = viewOf(this.buffer);
  private position = 0;

  constructor(private readonly limits: CodecLimits = DEFAULT_CODEC_LIMITS) {}

  get length(): number {
    return this.position;
  }

  /** Forgets everything behind `length`. */
  truncate(length: number): void {
    this.position = length;
    if (length === 0 && this.buffer.length > KEPT_BYTES) this.replaceBuffer(INITIAL_BYTES, 0);
  }

  /** Forgets the first `count` bytes; moves the others. */
  dropFront(count: number): void {
    this.buffer.copyWithin(0, count, this.position);
    this.truncate(this.position - count);
  }

  /** A copy. */
  slice(start: number, end: number): Uint8Array {
    return this.view(start, end).slice();
  }

  /** Valid until the next write. */
  view(start: number, end: number): Uint8Array {
    return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset + start, end - start);
  }

  /**
   * What everything is written into; the first `length` bytes count. Valid until the next write.
   */
  get bytes(): Uint8Array {
    return this.buffer;
  }

  copyTo(target: Uint8Array, offset: number): void {
    target.set(this.buffer.subarray(0, this.position), offset);
  }

  writeRow(row: Row): void {
    this.writeArrayHeader(row.length);
    for (let i = 0; i < row.length; i++) this.writeValue(row[i] as Value);
  }

  writeValue(value: Value): void {
    switch (typeof value) {
      case 'string':
        this.writeText(value);
        return;
      case 'bigint':
        this.writeInt64(value);
        return;
      case 'number':
        this.writeFloat(value);
        return;
      case 'boolean':
        this.writeByte(value ? 0xc3 : 0xc2);
        return;
      default:
        this.writeObject(value);
    }
  }

  private writeObject(value: Value): void {
    if (value === null) this.writeByte(0xc0);
    else if (value instanceof Uint8Array) this.writeBytes(value);
    else if (value instanceof TaggedValue) this.writeTagged(value);
    else throw unwritable(`a ${typeof value} is not a database value`);
  }

  writeByte(byte: number): void {
    this.reserve(1);
    this.buffer[this.position++] = byte;
  }

  writeFloat(value: number): void {
    // NaN has many bit patterns and no database order; SQLite makes it NULL. It never comes from a
    // database.
    if (Number.isNaN(value)) throw unwritable('NaN has no place in a database row');
    this.reserve(9);
    this.buffer[this.position] = 0xcb;
    this.dataView.setFloat64(this.position + 1, value);
    this.position += 9;
  }

  private writeInt64(value: bigint): void {
    const number = Number(value);
    if (Number.isSafeInteger(number)) {
      this.writeInteger(number);
      return;
    }
    if (BigInt.asIntN(64, value) !== value) throw unwritable('an integer is outside of the 64-bit range');
    this.reserve(9);
    this.buffer[this.position] = value < 0n ? 0xd3 : 0xcf;
    this.dataView.setBigInt64(this.position + 1, value);
    this.position += 9;
  }

  /** A safe integer, in the smallest form. */
  writeInteger(value: number): void {
    this.reserve(9);
    const { buffer } = this;
    const at = this.position;
    if (value >= 0) {
      if (value < 0x80) {
        buffer[at] = value;
        this.position = at + 1;
      } else if (value < 0x100) {
        buffer[at] = 0xcc;
        buffer[at + 1] = value;
        this.position = at + 2;
      } else if (value < 0x10000) {
        buffer[at] = 0xcd;
        buffer[at + 1] = value >>> 8;
        buffer[at + 2] = value;
        this.position = at + 3;
      } else if (value < 0x1_0000_0000) {
        buffer[at] = 0xce;
        this.dataView.setUint32(at + 1, value);
        this.position = at + 5;
      } else {
        buffer[at] = 0xcf;
        this.writeWide(value);
      }
    } else if (value >= -0x20) {
      buffer[at] = value;
      this.position = at + 1;
    } else if (value >= -0x80) {
      buffer[at] = 0xd0;
      buffer[at + 1] = value;
      this.position = at + 2;
    } else if (value >= -0x8000) {
      buffer[at] = 0xd1;
      buffer[at + 1] = value >> 8;
      buffer[at + 2] = value;
      this.position = at + 3;
    } else if (value >= -0x8000_0000) {
      buffer[at] = 0xd2;
      this.dataView.setInt32(at + 1, value);
      this.position = at + 5;
    } else {
      buffer[at] = 0xd3;
      this.writeWide(value);
    }
  }

  private writeWide(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.dataView.setInt32(this.position + 1, high);
    this.dataView.setUint32(this.position + 5, value - high * 0x1_0000_0000);
    this.position += 9;
  }

  writeText(text: string): void {
    const { length } = text;
    if (length > this.limits.maxValueBytes) this.assertValueSize(length);
    if (length <= LOOPED_TEXT_LENGTH && this.writeShortAscii(text, length)) return;
    const bound = length > MEASURED_TEXT_LENGTH ? Buffer.byteLength(text) : length * 3;
    if (bound > this.limits.maxValueBytes) this.assertValueSize(Buffer.byteLength(text));
    this.reserve(bound + 5);
    const at = this.position;
    // Most texts are ASCII: leave room for the head that the length in code units asks for, and
    // move if that was too little.
    const guessedHead = textHeadBytes(length);
    const written = writeUtf8(this.buffer, text, at + guessedHead, bound);
    // Node would have written U+FFFD instead, and the copies would differ from the original without
    // a word.
    if (written !== length && !isWellFormed(text)) {
      throw unwritable('a text holds half of a surrogate pair, which UTF-8 cannot carry');
    }
    const head = textHeadBytes(written);
    if (head !== guessedHead) this.buffer.copyWithin(at + head, at + guessedHead, at + guessedHead + written);
    this.putTextHead(at, written);
    this.position = at + head + written;
  }

  /** False, with nothing written, when there is anything but ASCII. */
  private writeShortAscii(text: string, length: number): boolean {
    this.reserve(length + 1);
    const { buffer } = this;
    let at = this.position;
    buffer[at++] = 0xa0 | length;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      buffer[at++] = code;
    }
    this.position = at;
    return true;
  }

  private putTextHead(at: number, length: number): void {
    const { buffer } = this;
    if (length < 0x20) {
      buffer[at] = 0xa0 | length;
    } else if (length < 0x100) {
      buffer[at] = 0xd9;
      buffer[at + 1] = length;
    } else if (length < 0x10000) {
      buffer[at] = 0xda;
      buffer[at + 1] = length >>> 8;
      buffer[at + 2] = length;
    } else {
      buffer[at] = 0xdb;
      this.dataView.setUint32(at + 1, length);
    }
  }

  writeBytes(bytes: Uint8Array): void {
    const { length } = bytes;
    this.assertValueSize(length);
    this.writeBinaryHeader(length);
    this.append(bytes);
  }

  /** The head of a bytes value, whose content the caller appends. */
  writeBinaryHeader(length: number): void {
    this.writeSized(0xc4, length);
  }

  private writeTagged(value: TaggedValue): void {
    const type = EXT_TYPE_OF_TAG.get(value.tag);
    if (type === undefined) throw unwritable(`"${String(value.tag)}" is not a tag of a value`);
    const { length } = value.bytes;
    this.assertValueSize(length);
    const fixed = FIXED_EXT_CODE.get(length);
    if (fixed === undefined) this.writeSized(0xc7, length);
    else this.writeByte(fixed);
    this.writeByte(type);
    this.append(value.bytes);
  }

  /** `code`, `code + 1` or `code + 2` with a length of one, two or four bytes. */
  private writeSized(code: number, length: number): void {
    this.reserve(5);
    const at = this.position;
    if (length < 0x100) {
      this.buffer[at] = code;
      this.buffer[at + 1] = length;
      this.position = at + 2;
    } else if (length < 0x10000) {
      this.buffer[at] = code + 1;
      this.dataView.setUint16(at + 1, length);
      this.position = at + 3;
    } else {
      this.buffer[at] = code + 2;
      this.dataView.setUint32(at + 1, length);
      this.position = at + 5;
    }
  }

  writeArrayHeader(length: number): void {
    this.writeContainerHeader(length, 0x90, 0xdc);
  }

  writeMapHeader(length: number): void {
    this.writeContainerHeader(length, 0x80, 0xde);
  }

  private writeContainerHeader(length: number, fixCode: number, code16: number): void {
    this.reserve(5);
    const at = this.position;
    if (length < 0x10) {
      this.buffer[at] = fixCode | length;
      this.position = at + 1;
    } else if (length < 0x10000) {
      this.buffer[at] = code16;
      this.dataView.setUint16(at + 1, length);
      this.position = at + 3;
    } else {
      this.buffer[at] = code16 + 1;
      this.dataView.setUint32(at + 1, length);
      this.position = at + 5;
    }
  }

  /** Raw bytes, as they are. */
  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** Everything in another writer. */
  appendWriter(other: ValueWriter): void {
    this.append(other.view(0, other.length));
  }

  /**
   * Makes the one byte at `at` (written as a placeholder) the integer `value`, moving what is
   * behind it if need be.
   */
  patchInteger(at: number, value: number): void {
    if (value < 0x80) {
      this.buffer[at] = value;
      return;
    }
    const extra = value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;
    // Room for any integer, so that writing it does not replace the buffer before the end is
    // restored.
    this.reserve(9);
    this.buffer.copyWithin(at + 1 + extra, at + 1, this.position);
    const end = this.position + extra;
    this.position = at;
    this.writeInteger(value);
    this.position = end;
  }

  private reserve(bytes: number): void {
    const needed = this.position + bytes;
    if (needed > this.buffer.length)
      this.replaceBuffer(Math.max(needed, this.buffer.length * 2), this.position);
  }

  private replaceBuffer(size: number, kept: number): void {
    const larger = Buffer.allocUnsafeSlow(size);
    if (kept > 0) this.buffer.copy(larger, 0, 0, kept);
    this.buffer = larger;
    this.dataView = viewOf(larger);
  }

  private assertValueSize(bytes: number): void {
    const { maxValueBytes } = this.limits;
    if (bytes <= maxValueBytes) return;
    throw new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A value takes ${bytes} bytes, and the limit is ${maxValueBytes}. Split it, or keep it outside of the database.`,
      { context: { bytes, limit: maxValueBytes } },
    );
  }
}

const FIXED_EXT_CODE: ReadonlyMap<number, number> = new Map([
  [1, 0xd4],
  [2, 0xd5],
  [4, 0xd6],
  [8, 0xd7],
  [16, 0xd8],
]);

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function textHeadBytes(length: number): number {
  if (length < 0x20) return 1;
  if (length < 0x100) return 2;
  return length < 0x10000 ? 3 : 5;
}

function unwritable(why: string): AntiphonError {
  return new AntiphonError('MALFORMED_MESSAGE', `This value cannot be written to the log: ${why}.`);
}
