import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from './free-port.js';
import type { Account } from './privileges.js';
import type { PostgresBinaries } from './postgres-binaries.js';

export const POSTGRES_USER = 'bench';
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;
const COMMAND_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const SHOWN_LOG_CHARACTERS = 1500;

/**
 * As a careful person would set it up for loading on a small machine; everything else is the
 * default. Durability is the same as that of SQLite in WAL mode with synchronous=NORMAL, which
 * Antiphon uses: a commit is not fsynced, a crash of the machine may lose the last ones, never the
 * consistency (synchronous_commit=off).
 */
const SETTINGS = [
  "listen_addresses = '127.0.0.1'",
  'synchronous_commit = off',
  'wal_level = logical',
  'max_wal_senders = 10',
  'max_replication_slots = 10',
  'shared_buffers = 256MB',
  'max_wal_size = 4GB',
  'checkpoint_timeout = 30min',
  'wal_compression = off',
  'hot_standby = on',
];

export interface PostgresOptions {
  readonly binaries: PostgresBinaries;
  readonly account: Account;
  readonly folder: string;
  /** Lines of postgresql.conf that win over the ones above; a standby has its primary's too. */
  readonly settings?: readonly string[];
}

/** One PostgreSQL server of this bench, on its own folder and port; never one that runs already. */
export class PostgresServer {
  #process: ChildProcess | undefined;
  #clients: pg.Client[] = [];

  private constructor(
    private readonly options: PostgresOptions,
    readonly port: number,
  ) {}

  /** A new, empty cluster. */
  static async create(options: PostgresOptions): Promise<PostgresServer> {
    const server = new PostgresServer(options, await freePort());
    prepareFolder(options);
    run(options, 'initdb', [
      '-D',
      server.data,
      '-U',
      POSTGRES_USER,
      '--auth=trust',
      '--no-sync',
      '--encoding=UTF8',
      '--locale=C',
    ]);
    await server.#start(SETTINGS);
    return server;
  }

  /** A streaming standby of `primary`. */
  static async standbyOf(primary: PostgresServer, options: PostgresOptions): Promise<PostgresServer> {
    const server = new PostgresServer(options, await freePort());
    prepareFolder(options);
    const from = ['-h', '127.0.0.1', '-p', String(primary.port), '-U', POSTGRES_USER];
    run(options, 'pg_basebackup', [
      ...from,
      '-D',
      server.data,
      '-R',
      '-X',
      'stream',
      '--checkpoint=fast',
      '--no-sync',
    ]);
    await server.#start([]);
    return server;
  }

  /** Where its Unix socket is. */
  get folder(): string {
    return this.options.folder;
  }

  get data(): string {
    return join(this.folder, 'data');
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** For CREATE SUBSCRIPTION. */
  get conninfo(): string {
    return `host=127.0.0.1 port=${this.port} user=${POSTGRES_USER} dbname=postgres`;
  }

  /** A new connection; closed with the server. */
  async connect(): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.port,
      user: POSTGRES_USER,
      database: 'postgres',
    });
    client.on('error', () => undefined);
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** Fast shutdown by its own pid, and SIGKILL after a while. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(this.#clients.splice(0).map((client) => client.end().catch(() => undefined)));
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGINT');
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(limit);
  }

  async #start(settings: readonly string[]): Promise<void> {
    const { options } = this;
    const socket = `unix_socket_directories = '${options.folder}'`;
    const lines = [...settings, ...(options.settings ?? []), socket, `port = ${this.port}`, ''].join('\n');
    appendFileSync(join(this.data, 'postgresql.conf'), lines);
    const [command = '', ...args] = [
      ...options.account.prefix,
      join(options.binaries.folder, 'postgres'),
      '-D',
      this.data,
    ];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#process = child;
    let log = '';
    const keep = (chunk: Buffer): void => void (log = (log + chunk.toString()).slice(-SHOWN_LOG_CHARACTERS));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
      if (await this.#answers()) return;
      await sleep(POLL_MS);
    }
    await this.stop();
    throw new Error(`PostgreSQL did not start in ${options.folder}:\n${log}`);
  }

  async #answers(): Promise<boolean> {
    const probe = new pg.Client({
      host: '127.0.0.1',
      port: this.port,
      user: POSTGRES_USER,
      database: 'postgres',
    });
    probe.on('error', () => undefined);
    try {
      await probe.connect();
      return true;
    } catch {
      return false;
    } finally {
      await probe.end().catch(() => undefined);
    }
  }
}

function prepareFolder({ folder, account }: PostgresOptions): void {
  mkdirSync(folder, { recursive: true });
  account.own(folder);
}

function run({ account, binaries }: PostgresOptions, program: string, args: readonly string[]): void {
  const [command = '', ...rest] = [...account.prefix, join(binaries.folder, program), ...args];
  const result = spawnSync(command, rest, { encoding: 'utf8', timeout: COMMAND_TIMEOUT_MS, cwd: '/' });
  if (result.status !== 0)
    throw new Error(`${program} failed: ${(result.stderr || result.error?.message) ?? ''}`);
}
