/** The client protocol of MariaDB and MySQL: https://mariadb.com/kb/en/clientserver-protocol/ */
export type Parameter = number | string;

const HEADER_BYTES = 4;
const COMMAND_EXECUTE = 0x17;
const UTF8MB4 = 45;
const MAX_PACKET_BYTES = 0x00ff_ffff;
const CAPABILITIES = { protocol41: 0x0200, secureConnection: 0x8000, pluginAuthentication: 0x8_0000 };
const TYPE = { double: 5, int64: 8, text: 253 };

/** Three bytes of length, one that counts the packets of an exchange, and the payload. */
export function packet(payload: Buffer, sequence = 0): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, payload]);
}

/** The answer to the server's greeting, with an empty password. */
export function loginPacket(user: string): Buffer {
  const fixed = Buffer.alloc(32);
  const { protocol41, secureConnection, pluginAuthentication } = CAPABILITIES;
  fixed.writeUInt32LE(protocol41 | secureConnection | pluginAuthentication, 0);
  fixed.writeUInt32LE(MAX_PACKET_BYTES, 4);
  fixed[8] = UTF8MB4;
  const emptyPassword = '\0';
  return Buffer.concat([fixed, Buffer.from(`${user}\0${emptyPassword}mysql_native_password\0`)]);
}

/** Runs a prepared statement. Whole numbers go as int64, others as double. */
export function executePacket(statement: number, parameters: readonly Parameter[]): Buffer {
  const head = Buffer.alloc(10);
  head[0] = COMMAND_EXECUTE;
  head.writeUInt32LE(statement, 1);
  head.writeUInt32LE(1, 6);
  const noNulls = Buffer.alloc(Math.ceil(parameters.length / 8));
  const types = parameters.flatMap((parameter) => [typeOf(parameter), 0]);
  return Buffer.concat([head, noNulls, Buffer.from([1, ...types]), ...parameters.map(valueBytes)]);
}

function typeOf(parameter: Parameter): number {
  if (typeof parameter === 'string') return TYPE.text;
  return Number.isInteger(parameter) ? TYPE.int64 : TYPE.double;
}

function valueBytes(parameter: Parameter): Buffer {
  if (typeof parameter === 'string') {
    const text = Buffer.from(parameter);
    return Buffer.concat([Buffer.from([0xfc, text.length & 0xff, text.length >> 8]), text]);
  }
  const number = Buffer.alloc(8);
  if (Number.isInteger(parameter)) number.writeBigInt64LE(BigInt(parameter));
  else number.writeDoubleLE(parameter);
  return number;
}

/** A row of a text result, of texts below 251 bytes; NULL is shown as an empty one. */
export function textRow(row: Buffer): readonly string[] {
  const NULL = 0xfb;
  const texts: string[] = [];
  for (let at = 0; at < row.length;) {
    const first = row[at] ?? 0;
    const length = first === NULL ? 0 : first;
    texts.push(row.toString('utf8', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return texts;
}

/** Cuts a stream of bytes into payloads. */
export class PacketReader {
  #bytes: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #waiting:
    { readonly resolve: (payload: Buffer) => void; readonly reject: (error: Error) => void } | undefined;

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#settle();
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.#settle();
  }

  next(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#settle();
    });
  }

  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const payload = this.#take();
    if (payload === undefined && this.#failure === undefined) return;
    this.#waiting = undefined;
    if (payload !== undefined) waiting.resolve(payload);
    else if (this.#failure !== undefined) waiting.reject(this.#failure);
  }

  #take(): Buffer | undefined {
    if (this.#bytes.length < HEADER_BYTES) return undefined;
    const end = HEADER_BYTES + this.#bytes.readUIntLE(0, 3);
    if (this.#bytes.length < end) return undefined;
    const payload = this.#bytes.subarray(HEADER_BYTES, end);
    this.#bytes = this.#bytes.subarray(end);
    return payload;
  }
}
