/** Three nats-servers, each a process. In production they run on three machines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNatsServer } from '@antiphon/nats-server';

const NAMES = ['n1', 'n2', 'n3'] as const;
const CONFIG = fileURLToPath(new URL('./nats.conf', import.meta.url));

async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(probes.map((probe) => once(probe.close(), 'close')));
  return ports;
}

export class Servers implements AsyncDisposable {
  readonly #processes = new Map<string, ChildProcess>();
  readonly #binary: string;
  readonly #folder: string;
  /** Of the clients, then of the routes. */
  readonly #ports: readonly number[];

  private constructor(binary: string, folder: string, ports: readonly number[]) {
    this.#binary = binary;
    this.#folder = folder;
    this.#ports = ports;
  }

  static async start(folder: string): Promise<Servers> {
    const found = await findNatsServer();
    if (found.kind !== 'binary') throw new Error('This example starts servers of its own.');
    const servers = new Servers(found.binary, folder, await freePorts(2 * NAMES.length));
    for (const name of NAMES) servers.run(name);
    return servers;
  }

  /** Of all three: a client goes on to the next one when its own is gone. */
  get urls(): string[] {
    return NAMES.map((_, n) => `nats://127.0.0.1:${this.#ports[n]}`);
  }

  run(name: string): void {
    const index = NAMES.findIndex((one) => one === name);
    const routes = NAMES.map((_, n) => `127.0.0.1:${this.#ports[NAMES.length + n]}`);
    const env = {
      NAME: name,
      LISTEN: `127.0.0.1:${this.#ports[index]}`,
      STORE: `"${join(this.#folder, name)}"`,
      ROUTE: routes[index],
      ...Object.fromEntries(routes.map((route, n) => [`ROUTE_${n + 1}`, `nats://${route}`])),
    };
    const child = spawn(this.#binary, ['-c', CONFIG], { stdio: 'ignore', env: { ...process.env, ...env } });
    this.#processes.set(name, child);
  }

  async kill(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(NAMES.map((name) => this.kill(name)));
  }
}
