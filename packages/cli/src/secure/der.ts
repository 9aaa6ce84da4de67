/**
 * ASN.1 in DER (ITU-T X.690), as far as certificates need it: each function returns a whole
 * element, its tag and length included.
 */

const LONG_FORM = 0x80;
const CONTINUES = 0x80;

export function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < LONG_FORM) return Buffer.from([length]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const digits = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.from([LONG_FORM | digits.length]), digits]);
}

export const der = {
  sequence: (...items: readonly Uint8Array[]): Buffer => element(0x30, ...items),
  set: (...items: readonly Uint8Array[]): Buffer => element(0x31, ...items),
  yes: (): Buffer => element(0x01, Buffer.from([0xff])),
  /** Of a number that is not negative, its bytes; they need not be the fewest. */
  integer: (bytes: Uint8Array): Buffer => element(0x02, minimal(bytes)),
  /** `unusedBits` of the last byte are no part of it. */
  bits: (bytes: Uint8Array, unusedBits = 0): Buffer => element(0x03, Buffer.from([unusedBits]), bytes),
  bytes: (content: Uint8Array): Buffer => element(0x04, content),
  text: (text: string): Buffer => element(0x0c, Buffer.from(text)),
  /** As `1.2.840.10045.4.3.2`. */
  id: (dotted: string): Buffer => element(0x06, idBytes(dotted)),
  time: (at: Date): Buffer => timeOf(at),
  /** An element that its place tells from others: explicit, around another element. */
  tagged: (number: number, content: Uint8Array): Buffer => element(0xa0 | number, content),
  /** The same, implicit: in place of the tag of a primitive. */
  alternative: (number: number, content: Uint8Array): Buffer => element(0x80 | number, content),
};

/** Without leading zeros, but with one where the number would read as a negative one. */
function minimal(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.from([0]) : Buffer.from(bytes.subarray(first));
  return (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits;
}

/** The first two numbers share a byte; the others are written in base 128. */
function idBytes(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number);
  return Buffer.from([first * 40 + second, ...others.flatMap(base128)]);
}

function base128(number: number): number[] {
  const digits = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128))
    digits.unshift((rest % 128) | CONTINUES);
  return digits;
}

/** RFC 5280, 4.1.2.5: two digits of the year before 2050, and four from then on. */
function timeOf(at: Date): Buffer {
  const digits = at.toISOString().replaceAll(/\.\d+|[-:T]/g, '');
  const isShort = at.getUTCFullYear() < 2050;
  return element(isShort ? 0x17 : 0x18, Buffer.from(isShort ? digits.slice(2) : digits));
}
