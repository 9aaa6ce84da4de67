import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { NatsFrames, type Frame } from './nats-frames.js';

const HOST = '127.0.0.1';

/** The network between one process and a nats-server, which can be cut, or hold messages. */
export class TcpProxy {
  readonly #pairs = new Map<Socket, Socket>();
  #isSilent = false;
  #isClosed = false;
  #holdsAt: ((subject: string) => boolean) | undefined;
  /** By the connection to the server; also of a process that has ended. */
  readonly #held = new Map<Socket, Buffer[]>();
  #answersHeld = false;

  private constructor(
    private readonly server: Server,
    private readonly target: URL,
  ) {
    server.on('connection', (near) => this.#join(near));
  }

  static async start(target: string): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
    return new TcpProxy(server, new URL(target));
  }

  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    return `nats://${HOST}:${port}`;
  }

  /** Nothing comes through any more, and nobody is told: as where a cable was pulled. */
  silence(): void {
    this.#isSilent = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /**
   * Is told of every message before it is sent on. The network holds the first one for which it
   * says true, and whatever comes after it, until `heal`; also when the process has ended by then.
   */
  intercept(holdsAt: (subject: string) => boolean): void {
    this.#holdsAt = holdsAt;
  }

  /** How many messages on subjects that end so are held. */
  held(subject: string): number {
    const frames = [...this.#held.values()].flatMap((held) => new NatsFrames().take(Buffer.concat(held)));
    return frames.filter((frame) => frame.subject.endsWith(subject)).length;
  }

  /** What the process sends comes through, and no answer does, until `heal`. */
  holdAnswers(): void {
    this.#answersHeld = true;
    for (const far of this.#pairs.values()) far.pause();
  }

  /** Connections end, and new ones are refused; what was held is lost. */
  cut(): void {
    this.#isClosed = true;
    this.#holdsAt = undefined;
    for (const far of this.#held.keys()) far.destroy();
    this.#held.clear();
    this.#endAll();
  }

  /** What a connection held back comes through now, however late. */
  heal(): void {
    [this.#isSilent, this.#isClosed, this.#answersHeld] = [false, false, false];
    this.#holdsAt = undefined;
    for (const [far, held] of this.#held) {
      for (const data of held) far.write(data);
      if (![...this.#pairs.values()].includes(far)) far.end();
    }
    this.#held.clear();
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #join(near: Socket): void {
    if (this.#isClosed) {
      near.destroy();
      return;
    }
    const { hostname, port } = this.target;
    const far = connect(Number(port), hostname);
    this.#pairs.set(near, far);
    const frames = new NatsFrames();
    near.on('data', (data) => {
      for (const frame of frames.take(data)) this.#send(frame, far);
    });
    far.on('data', (data) => {
      if (!near.destroyed) near.write(data);
    });
    for (const socket of [near, far]) socket.on('error', () => undefined);
    near.on('close', () => {
      this.#pairs.delete(near);
      if (!this.#held.has(far)) far.destroy();
    });
    far.on('close', () => near.destroy());
    if (this.#isSilent) near.pause();
    if (this.#isSilent || this.#answersHeld) far.pause();
  }

  #send({ data, subject }: Frame, far: Socket): void {
    if (subject !== '' && !this.#held.has(far) && this.#holdsAt?.(subject) === true) this.#held.set(far, []);
    const held = this.#held.get(far);
    if (held !== undefined) held.push(data);
    else if (!far.destroyed) far.write(data);
  }

  #endAll(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#pairs.clear();
  }
}
