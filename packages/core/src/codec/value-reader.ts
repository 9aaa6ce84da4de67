import { isUtf8 } from 'node:buffer';
import { AntiphonError } from '../errors/antiphon-error.js';
import { TaggedValue, type Value } from '../model/value.js';
import { TAG_OF_EXT_TYPE } from './format.js';
import { DEFAULT_CODEC_LIMITS, type CodecLimits } from './limits.js';
import { INCOMPLETE, scanItem, type ScanLimits } from './scan.js';
import { readUtf8 } from './utf8.js';

/** Up to here a loop over the bytes is quicker than a call into native code. */
const LOOPED_TEXT_BYTES = 12;

const TWO_32 = 0x1_0000_0000;

/**
 * Reads MessagePack that may be hostile: every length is compared with the bytes that are left
 * before anything is allocated for it, and whatever is wrong throws MALFORMED_MESSAGE or
 * MESSAGE_TOO_LARGE, never anything else. Bytes that it returns are views of the input.
 */
export class ValueReader {
  private readonly buffer: Buffer;
  private readonly view: DataView;
  private end: number;
  position = 0;

  constructor(
    data: Uint8Array,
    private readonly limits: CodecLimits = DEFAULT_CODEC_LIMITS,
    /** What is read, for messages. */
    private readonly what = 'log message',
  ) {
    this.buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.end = data.byteLength;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  /** Lets the next `bytes` be all there is, until `leave` with what this returns. */
  enter(bytes: number): number {
    if (bytes > this.remaining) throw this.truncated();
    const outerEnd = this.end;
    this.end = this.position + bytes;
    return outerEnd;
  }

  /** Throws unless all of the bytes entered were read. */
  leave(outerEnd: number): void {
    if (this.position !== this.end) throw this.malformed(`${this.remaining} bytes are left over`);
    this.end = outerEnd;
  }

  /** A row of exactly `columns` values. */
  readRow(columns: number): Value[] {
    const length = this.readArrayLength('a row');
    if (length !== columns) throw this.malformed(`a row has ${length} values, its table ${columns} columns`);
    return this.readValues(length);
  }

  /** `count` must be justified by the bytes left, as array lengths are. */
  readValues(count: number): Value[] {
    const values = new Array<Value>(count);
    for (let i = 0; i < count; i++) values[i] = this.readValue();
    return values;
  }

  /** Any database value. */
  readValue(): Value {
    const at = this.position;
    if (at >= this.end) throw this.truncated();
    const code = this.buffer[at] as number;
    if (code < 0x80) {
      this.position = at + 1;
      return BigInt(code);
    }
    if (code >= 0xe0) {
      this.position = at + 1;
      return BigInt(code - 0x100);
    }
    if (code >= 0xa0 && code < 0xc0) return this.readTextBody(at + 1, code & 0x1f);
    switch (code) {
      case 0xc0:
        this.position = at + 1;
        return null;
      case 0xc2:
        this.position = at + 1;
        return false;
      case 0xc3:
        this.position = at + 1;
        return true;
      case 0xca:
      case 0xcb:
        return this.readFloat(at, code);
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return BigInt(this.readInteger());
      case 0xcf:
      case 0xd3:
        return this.readInt64(at, code);
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.readText();
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.readBytes();
      default:
        return this.readTagged(at, code);
    }
  }

  private readFloat(at: number, code: number): number {
    const size = code === 0xcb ? 8 : 4;
    this.need(at, 1 + size);
    const value = size === 8 ? this.view.getFloat64(at + 1) : this.view.getFloat32(at + 1);
    if (Number.isNaN(value)) throw this.malformed('a float is NaN');
    this.position = at + 1 + size;
    return value;
  }

  private readInt64(at: number, code: number): bigint {
    this.need(at, 9);
    this.position = at + 9;
    const high = this.view.getInt32(at + 1);
    if (code === 0xcf && high < 0) throw this.malformed('an integer is outside of the signed 64-bit range');
    // Within ±2^52 the sum is exact, and BigInt() of a number is quicker than a bigint out of a
    // DataView.
    if (high >= -0x10_0000 && high < 0x10_0000) return BigInt(high * TWO_32 + this.view.getUint32(at + 5));
    return this.view.getBigInt64(at + 1);
  }

  /** A non-negative safe integer. */
  readCount(what: string): number {
    const at = this.position;
    if (at >= this.end) throw this.truncated();
    const code = this.buffer[at] as number;
    if (code < 0x80) {
      this.position = at + 1;
      return code;
    }
    const value = this.readInteger();
    if (value < 0 || !Number.isSafeInteger(value)) {
      throw this.malformed(`${what} must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}`);
    }
    return value;
  }

  /** Any integer form; exact only within the safe range. */
  private readInteger(): number {
    const at = this.position;
    const code = this.buffer[at] as number;
    switch (code) {
      case 0xcc:
        this.need(at, 2);
        this.position = at + 2;
        return this.buffer[at + 1] as number;
      case 0xcd:
        this.need(at, 3);
        this.position = at + 3;
        return this.view.getUint16(at + 1);
      case 0xce:
        this.need(at, 5);
        this.position = at + 5;
        return this.view.getUint32(at + 1);
      case 0xcf:
        this.need(at, 9);
        this.position = at + 9;
        return this.view.getUint32(at + 1) * TWO_32 + this.view.getUint32(at + 5);
      case 0xd0:
        this.need(at, 2);
        this.position = at + 2;
        return this.view.getInt8(at + 1);
      case 0xd1:
        this.need(at, 3);
        this.position = at + 3;
        return this.view.getInt16(at + 1);
      case 0xd2:
        this.need(at, 5);
        this.position = at + 5;
        return this.view.getInt32(at + 1);
      case 0xd3:
        this.need(at, 9);
        this.position = at + 9;
        return this.view.getInt32(at + 1) * TWO_32 + this.view.getUint32(at + 5);
      default:
        if (code >= 0xe0) {
          this.position = at + 1;
          return code - 0x100;
        }
        throw this.malformed(`an integer is expected, not 0x${code.toString(16)}`);
    }
  }

  readText(maxBytes: number = this.limits.maxValueBytes): string {
    const at = this.position;
    if (at >= this.end) throw this.truncated();
    const code = this.buffer[at] as number;
    if (code >= 0xa0 && code < 0xc0) return this.readTextBody(at + 1, code & 0x1f, maxBytes);
    if (code < 0xd9 || code > 0xdb) throw this.malformed(`a text is expected, not 0x${code.toString(16)}`);
    const lengthBytes = 1 << (code - 0xd9);
    return this.readTextBody(at + 1 + lengthBytes, this.readLength(at + 1, lengthBytes), maxBytes);
  }

  private readTextBody(start: number, length: number, maxBytes: number = this.limits.maxValueBytes): string {
    const stop = start + length;
    if (length > maxBytes) throw this.tooLarge(length, maxBytes);
    if (stop > this.end) throw this.truncated();
    this.position = stop;
    return length <= LOOPED_TEXT_BYTES ? this.readShortText(start, stop) : this.decodeUtf8(start, stop);
  }

  private readShortText(start: number, stop: number): string {
    const { buffer } = this;
    const codes = new Array<number>(stop - start);
    for (let at = start; at < stop; at++) {
      const byte = buffer[at] as number;
      if (byte > 0x7f) return this.decodeUtf8(start, stop);
      codes[at - start] = byte;
    }
    // One call, not a concatenation per character: that would leave a chain of strings to be
    // flattened by the reader.
    return String.fromCharCode.apply(String, codes);
  }

  private decodeUtf8(start: number, stop: number): string {
    const text = readUtf8(this.buffer, start, stop);
    // Invalid bytes decode to U+FFFD, which is rare enough in real text to look at the bytes only
    // then.
    if (text.includes('\uFFFD') && !isUtf8(this.buffer.subarray(start, stop))) {
      this.position = start;
      throw this.malformed('a text is not valid UTF-8');
    }
    return text;
  }

  private readBytes(): Uint8Array {
    const length = this.readBinaryLength('a value');
    return this.takeBytes(this.position, length, this.limits.maxValueBytes);
  }

  private readTagged(at: number, code: number): TaggedValue {
    let typeAt = at + 1;
    let length: number;
    if (code >= 0xd4 && code <= 0xd8) {
      length = 1 << (code - 0xd4);
    } else if (code >= 0xc7 && code <= 0xc9) {
      const lengthBytes = 1 << (code - 0xc7);
      length = this.readLength(typeAt, lengthBytes);
      typeAt += lengthBytes;
    } else {
      throw this.malformed(`a value is expected, not 0x${code.toString(16)}`);
    }
    if (typeAt >= this.end) throw this.truncated();
    const type = this.view.getInt8(typeAt);
    const tag = TAG_OF_EXT_TYPE.get(type);
    if (tag === undefined) throw this.malformed(`ext type ${type} is not known`);
    return new TaggedValue(tag, this.takeBytes(typeAt + 1, length, this.limits.maxValueBytes));
  }

  private takeBytes(start: number, length: number, maxBytes: number): Uint8Array {
    if (length > maxBytes) throw this.tooLarge(length, maxBytes);
    if (start + length > this.end) throw this.truncated();
    this.position = start + length;
    return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset + start, length);
  }

  readArrayLength(what: string): number {
    return this.readContainerLength(what, 0x90, 0xdc, 1);
  }

  readMapLength(what: string): number {
    return this.readContainerLength(what, 0x80, 0xde, 2);
  }

  private readContainerLength(what: string, fixCode: number, code16: number, bytesPerEntry: number): number {
    const at = this.position;
    if (at >= this.end) throw this.truncated();
    const code = this.buffer[at] as number;
    let length: number;
    if ((code & 0xf0) === fixCode) {
      length = code & 0x0f;
      this.position = at + 1;
    } else if (code === code16 || code === code16 + 1) {
      const lengthBytes = code === code16 ? 2 : 4;
      length = this.readLength(at + 1, lengthBytes);
      this.position = at + 1 + lengthBytes;
    } else {
      throw this.malformed(`${what} is expected, not 0x${code.toString(16)}`);
    }
    if (length * bytesPerEntry > this.remaining) throw this.truncated();
    return length;
  }

  private readLength(at: number, bytes: number): number {
    this.need(at, bytes);
    if (bytes === 1) return this.buffer[at] as number;
    return bytes === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  /** What kind of item comes next, by its first byte. */
  get next(): 'map' | 'list' | 'value' {
    const code = this.position < this.end ? (this.buffer[this.position] as number) : 0;
    if ((code & 0xf0) === 0x80 || code === 0xde || code === 0xdf) return 'map';
    return (code & 0xf0) === 0x90 || code === 0xdc || code === 0xdd ? 'list' : 'value';
  }

  /** Whether nil comes next; steps over it. */
  skipNil(): boolean {
    if (this.position >= this.end || this.buffer[this.position] !== 0xc0) return false;
    this.position++;
    return true;
  }

  readBoolean(what: string): boolean {
    if (this.position >= this.end) throw this.truncated();
    const code = this.buffer[this.position];
    if (code !== 0xc2 && code !== 0xc3) throw this.malformed(`${what} must be true or false`);
    this.position++;
    return code === 0xc3;
  }

  /** The length of a bytes value whose content is read next. */
  readBinaryLength(what: string): number {
    const at = this.position;
    if (at >= this.end) throw this.truncated();
    const code = this.buffer[at] as number;
    if (code < 0xc4 || code > 0xc6) throw this.malformed(`${what} must be bytes, not 0x${code.toString(16)}`);
    const lengthBytes = 1 << (code - 0xc4);
    const length = this.readLength(at + 1, lengthBytes);
    this.position = at + 1 + lengthBytes;
    if (length > this.remaining) throw this.truncated();
    return length;
  }

  /** The next `length` bytes, as a view. */
  take(length: number): Uint8Array {
    return this.takeBytes(this.position, length, Infinity);
  }

  /** What `find` knows about the bytes that come next; steps over them. */
  lookUp<T extends { readonly bytes: Uint8Array }>(
    find: (data: Buffer, at: number, end: number) => T | undefined,
  ): T | undefined {
    const found = find(this.buffer, this.position, this.end);
    if (found !== undefined) this.position += found.bytes.length;
    return found;
  }

  /** The bytes from `start` up to here, as a view. */
  viewFrom(start: number): Uint8Array {
    return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset + start, this.position - start);
  }

  /** Steps over one item of any kind without decoding it. */
  skip(limits: ScanLimits): void {
    const next = scanItem(this.buffer, this.position, this.end, limits);
    if (next === INCOMPLETE) throw this.truncated();
    this.position = next;
  }

  private need(at: number, bytes: number): void {
    if (at + bytes > this.end) throw this.truncated();
  }

  private truncated(): AntiphonError {
    return this.malformed('it ends in the middle of a value');
  }

  malformed(why: string): AntiphonError {
    return new AntiphonError(
      'MALFORMED_MESSAGE',
      `The ${this.what} is not valid: ${why} (at byte ${this.position}).`,
      {
        context: { offset: this.position },
      },
    );
  }

  private tooLarge(bytes: number, limit: number): AntiphonError {
    return new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A value takes ${bytes} bytes, and the limit is ${limit}.`,
      {
        context: { bytes, limit, offset: this.position },
      },
    );
  }
}
