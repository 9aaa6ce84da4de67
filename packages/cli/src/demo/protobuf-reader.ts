const TEXT = new TextDecoder();

/** As much of the protobuf wire format as the cities need: varints, zigzag varints and text. */
export class ProtobufReader {
  #position = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get position(): number {
    return this.#position;
  }

  get atEnd(): boolean {
    return this.#position >= this.bytes.length;
  }

  /** At the length of a message; returns the position where it ends. */
  beginMessage(): number {
    const length = this.unsigned();
    return this.#position + length;
  }

  /** The number of the field that follows; its type is known from the number. */
  field(): number {
    return this.unsigned() >>> 3;
  }

  unsigned(): number {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = this.bytes[this.#position] ?? 0;
      this.#position += 1;
      // Not a shift: values may need more than 32 bits.
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  }

  signed(): number {
    const value = this.unsigned();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }

  text(): string {
    const end = this.beginMessage();
    const text = TEXT.decode(this.bytes.subarray(this.#position, end));
    this.#position = end;
    return text;
  }
}
