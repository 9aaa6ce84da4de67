import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  executePacket,
  loginPacket,
  packet,
  PacketReader,
  textRow,
  type Parameter,
} from './mariadb-packets.js';

const COMMAND = { query: 0x03, prepare: 0x16 };
const REPLY = { ok: 0x00, endOfRows: 0xfe, error: 0xff };
const END_OF_ROWS_LENGTH = 5;

/**
 * As much of a MariaDB client as this bench needs: an account without a password over a Unix
 * socket, statements, and prepared ones. There is a driver on npm; this is one dependency less, and
 * does less for each statement than any of them. One call at a time.
 */
export class MariadbClient {
  readonly #reader = new PacketReader();

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#reader.push(chunk));
    socket.on('error', (error) => this.#reader.fail(error));
    socket.on('close', () => this.#reader.fail(new Error('MariaDB has closed the connection')));
  }

  static async connect(socketFile: string, user: string): Promise<MariadbClient> {
    const socket = connect(socketFile);
    const client = new MariadbClient(socket);
    try {
      await once(socket, 'connect');
      await client.#reader.next();
      socket.write(packet(loginPacket(user), 1));
      const reply = await client.#expectNoError();
      if (reply[0] !== REPLY.ok) throw new Error('MariaDB wants a password; the account must have none');
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** The rows of the result, as text; none for statements without a result. */
  async query(sql: string): Promise<readonly (readonly string[])[]> {
    this.#send(COMMAND.query, sql);
    const reply = await this.#expectNoError();
    if (reply[0] === REPLY.ok) return [];
    await this.#packetsToEnd();
    return (await this.#packetsToEnd()).map(textRow);
  }

  /** The number of the prepared statement, which must return no rows. */
  async prepare(sql: string): Promise<number> {
    this.#send(COMMAND.prepare, sql);
    const reply = await this.#expectNoError();
    if (reply.readUInt16LE(7) > 0) await this.#packetsToEnd();
    return reply.readUInt32LE(1);
  }

  async execute(statement: number, parameters: readonly Parameter[]): Promise<void> {
    this.socket.write(packet(executePacket(statement, parameters)));
    await this.#expectNoError();
  }

  close(): void {
    this.socket.destroy();
  }

  #send(command: number, sql: string): void {
    this.socket.write(packet(Buffer.concat([Buffer.from([command]), Buffer.from(sql)])));
  }

  async #expectNoError(): Promise<Buffer> {
    const reply = await this.#reader.next();
    if (reply[0] !== REPLY.error) return reply;
    // Error number, `#` and five characters of SQL state, and the text.
    throw new Error(`MariaDB error ${reply.readUInt16LE(1)}: ${reply.toString('utf8', 9)}`);
  }

  /** Column definitions, and rows, end with a packet of their own. */
  async #packetsToEnd(): Promise<Buffer[]> {
    const packets: Buffer[] = [];
    for (;;) {
      const next = await this.#expectNoError();
      if (next[0] === REPLY.endOfRows && next.length <= END_OF_ROWS_LENGTH) return packets;
      packets.push(next);
    }
  }
}
