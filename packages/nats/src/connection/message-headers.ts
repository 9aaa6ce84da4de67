import type { MsgHdrs } from 'nats';

const encoder = new TextEncoder();

/**
 * The headers of one message, already in wire form. The client's own header map costs more than the
 * rest of a publish; of what it is given it only calls `encode` (2.29.3).
 */
export class MessageHeaders {
  readonly #bytes: Uint8Array;

  /**
   * Values must be printable and without line breaks: whoever takes them from outside checks that.
   * A list is a line for each.
   */
  constructor(fields: Readonly<Record<string, string | number | readonly string[] | undefined>>) {
    let text = 'NATS/1.0\r\n';
    for (const name in fields) {
      const value = fields[name];
      if (typeof value === 'object') for (const one of value) text += `${name}: ${one}\r\n`;
      else if (value !== undefined) text += `${name}: ${value}\r\n`;
    }
    this.#bytes = encoder.encode(`${text}\r\n`);
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  encode(): Uint8Array {
    return this.#bytes;
  }

  forClient(): MsgHdrs {
    return this as unknown as MsgHdrs;
  }
}

/** The value of a header in a stored message's header block; undefined when it has none. */
export function readHeader(block: string, name: string): string | undefined {
  for (const line of block.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon).toLowerCase() === name.toLowerCase())
      return line.slice(colon + 1).trim();
  }
  return undefined;
}
