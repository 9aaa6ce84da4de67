import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GaleraBinaries } from './galera-binaries.js';
import { MariadbClient } from './mariadb-client.js';
import type { Account } from './privileges.js';

const USER = 'root';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const COMMAND_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const SHOWN_LOG_CHARACTERS = 3000;

/**
 * What Galera asks for, a commit that is fsynced on the node that it was made on, and buffers as
 * large as PostgreSQL's here; everything else is the default. Clients come over the Unix socket:
 * there is no port for them.
 */
const SETTINGS = [
  '--skip-networking',
  '--binlog-format=ROW',
  '--default-storage-engine=InnoDB',
  '--innodb-autoinc-lock-mode=2',
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=256M',
  '--innodb-log-file-size=512M',
  '--max-connections=200',
  '--wsrep-on=ON',
  '--wsrep-cluster-name=bench',
  '--wsrep-node-address=127.0.0.1',
  '--wsrep-slave-threads=4',
];

/** The ports that nodes talk to each other on, all on 127.0.0.1. */
export interface GaleraPorts {
  readonly group: number;
  /** For transactions that a node missed. */
  readonly transfer: number;
}

export interface GaleraNodeOptions {
  readonly binaries: GaleraBinaries;
  readonly account: Account;
  readonly folder: string;
  readonly name: string;
  readonly ports: GaleraPorts;
  /** Ports of the whole group. */
  readonly group: readonly number[];
}

/** One MariaDB server of this bench, on its own folder and ports; never one that runs already. */
export class GaleraNode {
  #process: ChildProcess | undefined;
  readonly #clients: MariadbClient[] = [];

  constructor(private readonly options: GaleraNodeOptions) {}

  get data(): string {
    return join(this.options.folder, 'data');
  }

  /** Makes its system tables. */
  install(): void {
    const { account, binaries, folder } = this.options;
    mkdirSync(folder, { recursive: true });
    account.own(folder);
    const [command = '', ...args] = [
      ...account.prefix,
      binaries.installer,
      '--no-defaults',
      `--datadir=${this.data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
      ...SETTINGS.filter((setting) => setting.startsWith('--innodb-log')),
    ];
    const result = spawnSync(command, args, { encoding: 'utf8', timeout: COMMAND_TIMEOUT_MS, cwd: '/' });
    if (result.status !== 0) throw new Error(`mariadb-install-db failed:\n${result.stdout}${result.stderr}`);
  }

  /**
   * Takes over what another node, which does not run, holds: it then joins without copying anything
   * over the network.
   */
  copyFrom(other: GaleraNode): void {
    const { account, folder } = this.options;
    mkdirSync(folder, { recursive: true });
    account.own(folder);
    const [command = '', ...args] = [...account.prefix, 'cp', '-r', other.data, this.data];
    const result = spawnSync(command, args, { encoding: 'utf8', timeout: COMMAND_TIMEOUT_MS, cwd: '/' });
    if (result.status !== 0) throw new Error(`cp failed: ${result.stderr}`);
  }

  /** Resolves once it is in step with a group of that size; of 1, it founds the group. */
  async start(groupSize: number): Promise<void> {
    const { account, binaries, folder } = this.options;
    const founds = groupSize === 1 ? ['--wsrep-new-cluster'] : [];
    const [command = '', ...args] = [...account.prefix, binaries.mariadbd, ...this.#arguments(), ...founds];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, cwd: '/' });
    this.#process = child;
    let log = '';
    const keep = (chunk: Buffer): void => void (log = (log + chunk.toString()).slice(-SHOWN_LOG_CHARACTERS));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
      if (await this.#inStep(groupSize)) return;
      await sleep(POLL_MS);
    }
    await this.stop();
    throw new Error(`MariaDB did not start in ${folder}:\n${log}`);
  }

  /** A new connection; closed with the node. */
  async connect(): Promise<MariadbClient> {
    const client = await MariadbClient.connect(this.#socket, USER);
    this.#clients.push(client);
    return client;
  }

  /** Shutdown by its own pid, and SIGKILL after a while. Idempotent. */
  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(limit);
  }

  get #socket(): string {
    return join(this.options.folder, 'socket');
  }

  #arguments(): string[] {
    const { binaries, folder, name, ports, group } = this.options;
    const transfer = `127.0.0.1:${ports.transfer}`;
    const provider = [
      `gmcast.listen_addr=tcp://127.0.0.1:${ports.group}`,
      `ist.recv_addr=${transfer}`,
      `ist.recv_bind=${transfer}`,
    ];
    return [
      '--no-defaults',
      ...SETTINGS,
      `--datadir=${this.data}`,
      `--socket=${this.#socket}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--wsrep-node-name=${name}`,
      `--wsrep-provider=${binaries.provider}`,
      `--wsrep-provider-options=${provider.join(';')}`,
      `--wsrep-cluster-address=gcomm://${group.map((port) => `127.0.0.1:${port}`).join(',')}`,
    ];
  }

  async #inStep(groupSize: number): Promise<boolean> {
    let probe: MariadbClient | undefined;
    try {
      probe = await MariadbClient.connect(this.#socket, USER);
      const status = new Map(
        (await probe.query("SHOW STATUS LIKE 'wsrep%'")).map(([name = '', value = '']) => [name, value]),
      );
      return (
        status.get('wsrep_local_state_comment') === 'Synced' &&
        status.get('wsrep_cluster_size') === `${groupSize}`
      );
    } catch {
      return false;
    } finally {
      probe?.close();
    }
  }
}
