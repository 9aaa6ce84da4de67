import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort, withParentDeathSignal } from '@antiphon/nats-server/internal';
import { findNatsServer, probeServer } from '@antiphon/nats-server';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 10_000;

/**
 * A nats-server with a configuration of the test's own, which a restart may change: without
 * JetStream, with accounts, with TLS.
 */
export class RawServer {
  #process: ChildProcess | undefined;

  private constructor(
    private readonly binary: string,
    private readonly dir: string,
    readonly port: number,
  ) {}

  /**
   * `configuration` is everything but the address; `@DIR@` in it is a folder of this server's own.
   */
  static async start(configuration: string): Promise<RawServer> {
    const found = await findNatsServer({ systemPackage: false, download: false });
    if (found.kind !== 'binary') throw new Error('needs a nats-server binary');
    const port = (await findFreePort(HOST)) ?? 0;
    const server = new RawServer(found.binary, mkdtempSync(join(tmpdir(), 'antiphon-raw-')), port);
    await server.run(configuration);
    return server;
  }

  get url(): string {
    return `nats://${HOST}:${this.port}`;
  }

  get folder(): string {
    return this.dir;
  }

  async run(configuration: string): Promise<void> {
    await this.kill();
    const file = join(this.dir, 'nats-server.conf');
    writeFileSync(file, `listen: "${HOST}:${this.port}"\n${configuration.replaceAll('@DIR@', this.dir)}\n`);
    const { command, args } = withParentDeathSignal(this.binary, ['-c', file, '-l', join(this.dir, 'log')]);
    this.#process = spawn(command, args, { stdio: 'ignore' });
    const deadlineMs = performance.now() + START_TIMEOUT_MS;
    while ((await probeServer(HOST, this.port, 500)) === undefined) {
      if (performance.now() > deadlineMs) throw new Error(`nats-server did not start, see ${this.dir}/log`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
