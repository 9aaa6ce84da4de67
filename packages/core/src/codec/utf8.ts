/**
 * The native halves of `Buffer.write` and `Buffer.toString`, which spare half of a short text's
 * time. They are on every Buffer but not in its types; where a future Node takes them away, the
 * public methods do the same.
 */
interface NativeTextBuffer {
  utf8Write?(text: string, offset: number, length: number): number;
  utf8Slice?(start: number, end: number): string;
}

const native = Buffer.prototype as unknown as NativeTextBuffer;

type Write = (this: Buffer, text: string, offset: number, length: number) => number;
type Slice = (this: Buffer, start: number, end: number) => string;

const write: Write =
  native.utf8Write ??
  function (this: Buffer, text, offset, length) {
    return this.write(text, offset, length, 'utf8');
  };

const slice: Slice =
  native.utf8Slice ??
  function (this: Buffer, start, end) {
    return this.toString('utf8', start, end);
  };

/** Returns the number of bytes written; `room` must be enough for all of `text`. */
export function writeUtf8(buffer: Buffer, text: string, at: number, room: number): number {
  return write.call(buffer, text, at, room);
}

/** Invalid bytes become U+FFFD. */
export function readUtf8(buffer: Buffer, start: number, end: number): string {
  return slice.call(buffer, start, end);
}

/** TypeScript's ES2023 library does not know it yet; Node 20 has it. */
interface WellFormedText {
  isWellFormed(): boolean;
}

const HIGH_SURROGATE = /[\ud800-\udbff]$/;

/** The first so many characters, or one less where that would halve the last one. */
export function startOfText(text: string, characters: number): string {
  return text.slice(0, characters).replace(HIGH_SURROGATE, '');
}

/** Whether there is no half of a surrogate pair in it. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as WellFormedText).isWellFormed();
}
