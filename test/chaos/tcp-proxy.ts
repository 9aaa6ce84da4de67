import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

/** The network between one process and a server, which can be cut. */
export class TcpProxy {
  readonly #pairs = new Map<Socket, Socket>();
  #isSilent = false;
  #isClosed = false;

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

  /** Connections end, and new ones are refused. */
  cut(): void {
    this.#isClosed = true;
    this.#endAll();
  }

  /** What a silent connection held back comes through now, however late. */
  heal(): void {
    [this.#isSilent, this.#isClosed] = [false, false];
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    this.#endAll();
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
    this.#pass(near, far);
    this.#pass(far, near);
    if (this.#isSilent) for (const socket of [near, far]) socket.pause();
  }

  #pass(from: Socket, to: Socket): void {
    from.on('data', (data) => {
      if (!to.destroyed) to.write(data);
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      this.#pairs.delete(from);
      to.destroy();
    });
  }

  #endAll(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#pairs.clear();
  }
}
