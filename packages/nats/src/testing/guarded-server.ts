import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort, withParentDeathSignal } from '@antiphon/nats-server/internal';
import { findNatsServer, probeServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';

const HOST = '127.0.0.1';

/**
 * A real nats-server with users, permissions or TLS of its own, which can be changed while it runs.
 */
export class GuardedServer implements AsyncDisposable {
  #process: ChildProcess | undefined;

  private constructor(
    private readonly binary: string,
    readonly dir: string,
    readonly port: number,
  ) {}

  /**
   * `access` is text of its configuration file: `authorization { … }`, `tls { … }`, `operator: …`.
   */
  static async start(
    access: string,
    dir = mkdtempSync(join(tmpdir(), 'antiphon-guarded-')),
  ): Promise<GuardedServer> {
    const found = await findNatsServer({ systemPackage: false, download: false });
    if (found.kind !== 'binary') throw new Error('needs a nats-server binary');
    mkdirSync(dir, { recursive: true });
    const server = new GuardedServer(found.binary, dir, (await findFreePort(HOST)) ?? 0);
    await server.#run(access);
    return server;
  }

  /** With a login in front of the host. */
  url(login = '', scheme = 'nats'): string {
    return `${scheme}://${login === '' ? '' : `${login}@`}${HOST}:${this.port}`;
  }

  file(name: string, content: string): string {
    const path = join(this.dir, name);
    writeFileSync(path, content);
    return path;
  }

  /** Other users or permissions from now on, with connections and streams as they are. */
  async reload(access: string): Promise<void> {
    const before = this.#log().length;
    this.#configure(access);
    this.#process?.kill('SIGHUP');
    await eventually('the reload', () =>
      /Reloaded server configuration|Failed to reload/.test(this.#log().slice(before)),
    );
    if (this.#log().slice(before).includes('Failed to reload')) throw new Error(this.#log().slice(before));
  }

  /** What the server wrote to its log: what clients sent in, for instance. */
  get log(): string {
    return this.#log();
  }

  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return;
    const ended = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #run(access: string): Promise<void> {
    const config = this.#configure(access);
    const { command, args } = withParentDeathSignal(this.binary, ['-c', config]);
    const child = spawn(command, args, { stdio: 'ignore' });
    this.#process = child;
    await eventually('the server to start', async () => {
      if (child.exitCode !== null) throw new Error(`nats-server ended: ${this.#log()}`);
      return (
        this.#log().includes('Server is ready') || (await probeServer(HOST, this.port, 200)) !== undefined
      );
    });
  }

  #configure(access: string): string {
    const lines = [
      `server_name: guarded`,
      `listen: "${HOST}:${this.port}"`,
      `log_file: ${JSON.stringify(join(this.dir, 'server.log'))}`,
      `jetstream { store_dir: ${JSON.stringify(join(this.dir, 'store'))} }`,
      access,
    ];
    return this.file('server.conf', lines.join('\n'));
  }

  #log(): string {
    try {
      return readFileSync(join(this.dir, 'server.log'), 'utf8');
    } catch {
      return '';
    }
  }
}
