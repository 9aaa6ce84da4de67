import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort, withParentDeathSignal } from '@antiphon/nats-server/internal';
import { findNatsServer } from '@antiphon/nats-server';

const SIZE = 3;
const HOST = '127.0.0.1';

interface Node {
  readonly name: string;
  readonly port: number;
  readonly routePort: number;
  process: ChildProcess | undefined;
}

/** Three nats-servers that replicate a stream, for leader changes. */
export class ServerCluster {
  private constructor(
    private readonly binary: string,
    private readonly dir: string,
    private readonly nodes: readonly Node[],
  ) {}

  static async start(): Promise<ServerCluster> {
    const found = await findNatsServer({ systemPackage: false, download: false });
    if (found.kind !== 'binary') throw new Error('needs a nats-server binary');
    const ports = new Set<number>();
    while (ports.size < 2 * SIZE) ports.add((await findFreePort(HOST)) ?? 0);
    const numbers = [...ports];
    const nodes = Array.from({ length: SIZE }, (_, n) => {
      return { name: `n${n}`, port: numbers[n]!, routePort: numbers[SIZE + n]!, process: undefined };
    });
    const cluster = new ServerCluster(found.binary, mkdtempSync(join(tmpdir(), 'antiphon-cluster-')), nodes);
    for (const { name } of nodes) cluster.run(name);
    return cluster;
  }

  get urls(): string[] {
    return this.nodes.map(({ port }) => `nats://${HOST}:${port}`);
  }

  run(name: string): void {
    const node = this.#node(name);
    const routes = this.nodes.map(({ routePort }) => `nats-route://${HOST}:${routePort}`).join(', ');
    const config = join(this.dir, `${name}.conf`);
    const lines = [
      `server_name: ${name}`,
      `listen: "${HOST}:${node.port}"`,
      `jetstream { store_dir: ${JSON.stringify(join(this.dir, name))} }`,
      `cluster { name: test, listen: "${HOST}:${node.routePort}", routes: [${routes}] }`,
    ];
    writeFileSync(config, lines.join('\n'));
    const { command, args } = withParentDeathSignal(this.binary, ['-c', config]);
    node.process = spawn(command, args, { stdio: 'ignore' });
  }

  async kill(name: string): Promise<void> {
    const { process } = this.#node(name);
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return;
    const ended = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await ended;
  }

  /** It stands still, and keeps its connections. */
  freeze(name: string): void {
    this.#node(name).process?.kill('SIGSTOP');
  }

  thaw(name: string): void {
    this.#node(name).process?.kill('SIGCONT');
  }

  get names(): readonly string[] {
    return this.nodes.map(({ name }) => name);
  }

  url(name: string): string {
    return `nats://${HOST}:${this.#node(name).port}`;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ name }) => this.kill(name)));
    rmSync(this.dir, { recursive: true, force: true });
  }

  #node(name: string): Node {
    const node = this.nodes.find((candidate) => candidate.name === name);
    if (node === undefined) throw new Error(`no server ${name}`);
    return node;
  }
}
