import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, toAntiphonError } from '@antiphon/core';
import { findNatsServer, NatsServer } from '@antiphon/nats-server';
import { findFreePort } from '@antiphon/nats-server/internal';
import type { FailoverOptions } from '@antiphon/core';
import type { ReplicaLimits, Topology, UpdateOptions } from '@antiphon/replica';
import type { SqliteOptions } from '@antiphon/sqlite';
import { stringify } from 'yaml';
import { removeContext, runningContext, writeContext } from './context-file.js';
import { ReplicaProcess, type Trouble } from './replica-process.js';

const LOOPBACK = '127.0.0.1';
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** Where another replica takes the place of a primary that has ended, it gets the time for it. */
const RESTART_WITH_FAILOVER_MS = 5000;

export interface LocalReplica {
  readonly id: string;
  /** The SQLite file. */
  readonly file: string;
}

export interface LocalClusterOptions {
  readonly cluster: string;
  /** The first one brings the tables and rows of its file. */
  readonly replicas: readonly [LocalReplica, ...LocalReplica[]];
  readonly topology: Topology;
  readonly update: UpdateOptions;
  readonly failover?: FailoverOptions;
  /** How every replica uses its file, as in antiphon.yaml. */
  readonly sqlite?: Omit<SqliteOptions, 'file'>;
  readonly tables?: readonly string[];
  /** Of the first one. */
  readonly localTriggers?: readonly string[];
  /** As in antiphon.yaml. */
  readonly limits?: Partial<ReplicaLimits>;
  readonly onStall?: 'stay' | 'exit';
  /** Every replica answers over HTTP, on a port that is free. */
  readonly http?: boolean;
  /** Where the server's store, configurations and logs are kept. */
  readonly folder: string;
  /** Where `.antiphon/context.json` is written. */
  readonly contextFolder: string;
  /** A free one when absent. */
  readonly port?: number;
  /** One sentence for people, for each thing that happens. */
  readonly onEvent: (message: string) => void;
  /** Called when the process of a replica has ended by itself. */
  readonly onEnded?: (id: string) => void;
  readonly signal: AbortSignal;
}

/**
 * A whole cluster on this machine: a nats-server and a process per replica, watched and started
 * again when one dies. They all end with this process: see replica-process.ts, and lifeline.ts of
 * @antiphon/nats-server.
 */
export class LocalCluster {
  #server: NatsServer | undefined;
  #stopping = false;
  #backoff = new AbortController();
  readonly #processes: ReplicaProcess[] = [];
  readonly #addresses = new Map<string, string>();

  private constructor(private readonly options: LocalClusterOptions) {}

  /** Stops whatever it had started when something fails. Throws AntiphonError, ABORTED included. */
  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    LocalCluster.assertNoneRuns(options.contextFolder);
    const cluster = new LocalCluster(options);
    try {
      await cluster.#startServer();
      const [first, ...others] = options.replicas;
      await cluster.#startReplica(first);
      await Promise.all(others.map((replica) => cluster.#startReplica(replica)));
      cluster.#writeContext();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** To be called before anything of a running one is touched. @throws AntiphonError BAD_OPTION */
  static assertNoneRuns(contextFolder: string): void {
    const running = runningContext(contextFolder);
    if (running === undefined) return;
    const message =
      `Cluster ${running.cluster} already runs in this folder (process ${running.pid}). ` +
      'Stop it with Ctrl-C there, or use another folder.';
    throw new AntiphonError('BAD_OPTION', message, { context: { pid: running.pid } });
  }

  get servers(): readonly string[] {
    return this.#server === undefined ? [] : [this.#server.url];
  }

  get serverVersion(): string {
    return this.#server?.version ?? '';
  }

  get serverPid(): number | undefined {
    return this.#server?.pid;
  }

  get processes(): readonly ReplicaProcess[] {
    return this.#processes;
  }

  /** Where a replica answers over HTTP; it is the same after it was started again. */
  urlOf(id: string): string | undefined {
    const address = this.#addresses.get(id);
    return address === undefined ? undefined : `http://${address}`;
  }

  /** Replicas that run and do not get on. */
  get troubles(): readonly Trouble[] {
    return this.#processes.flatMap(({ trouble }) => trouble ?? []);
  }

  /** Replicas first: they still have something to send. Idempotent; never rejects. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#backoff.abort();
    removeContext(this.options.contextFolder);
    await Promise.all(this.#processes.map((replica) => replica.stop()));
    await this.#server?.stop().catch((error: unknown) => {
      this.options.onEvent(`nats-server did not stop: ${toAntiphonError(error).message}`);
    });
  }

  async #startServer(): Promise<void> {
    const { folder, port, signal, onEvent } = this.options;
    const found = await findNatsServer({ onStep: onEvent, signal });
    if (found.kind !== 'binary') throw new AntiphonError('INTERNAL', 'A search without a URL found a URL.');
    this.#server = await NatsServer.start({
      storeDir: join(folder, 'nats'),
      binary: found.binary,
      ...(port === undefined ? {} : { port }),
      onStep: onEvent,
      onUnexpectedExit: () => void this.#restartServer(),
      signal,
    });
    onEvent(`nats-server ${this.#server.version} runs at ${this.#server.url} (pid ${this.#server.pid})`);
  }

  async #restartServer(): Promise<void> {
    const { onEvent } = this.options;
    for (let attempt = 0; !this.#stopping; attempt += 1) {
      const delayMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt);
      onEvent(
        `nats-server ended; starting it again in ${delayMs / 1000} s (what is written meanwhile waits in the databases)`,
      );
      try {
        await sleep(delayMs, undefined, { signal: this.#backoff.signal });
        await this.#server?.restart(this.#backoff.signal);
        return onEvent(`nats-server is back (pid ${this.#server?.pid})`);
      } catch (error) {
        if (!this.#stopping) onEvent(toAntiphonError(error).message);
      }
    }
  }

  async #startReplica(replica: LocalReplica): Promise<void> {
    const { folder, onEvent, onEnded, failover, http, signal } = this.options;
    if (http === true) await this.#findAddress(replica.id);
    const configFile = join(folder, `${replica.id}.yaml`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(configFile, this.#configText(replica));
    const logFile = join(folder, `${replica.id}.log`);
    const process = new ReplicaProcess({
      ...{ id: replica.id, configFile, logFile, onEvent },
      onEnded: () => onEnded?.(replica.id),
      ...(failover === undefined ? {} : { restartMs: RESTART_WITH_FAILOVER_MS }),
    });
    this.#processes.push(process);
    await process.start(signal);
    onEvent(`replica ${replica.id} runs on ${replica.file} (pid ${process.pid})`);
  }

  async #findAddress(id: string): Promise<void> {
    const port = await findFreePort(LOOPBACK);
    if (port !== undefined) this.#addresses.set(id, `${LOOPBACK}:${port}`);
  }

  #configText({ id, file }: LocalReplica): string {
    const { cluster, topology, update, failover, sqlite, tables, localTriggers, limits, onStall } =
      this.options;
    const listen = this.#addresses.get(id);
    const config = {
      cluster,
      id,
      nats: { servers: this.servers },
      store: { sqlite: { ...sqlite, file: resolve(file) } },
      ...(tables === undefined ? {} : { tables }),
      ...(localTriggers === undefined ? {} : { localTriggers }),
      topology,
      update,
      ...(failover === undefined ? {} : { failover }),
      ...(limits === undefined ? {} : { limits }),
      ...(onStall === undefined ? {} : { onStall }),
      ...(listen === undefined ? {} : { http: { listen } }),
    };
    // `$` would begin an environment variable.
    return `# Written by \`antiphon\` at every start: changes are lost.\n${stringify(config).replaceAll('$', '$$$$')}`;
  }

  #writeContext(): void {
    const { contextFolder, cluster, replicas } = this.options;
    writeContext(contextFolder, {
      cluster,
      servers: this.servers,
      pid: process.pid,
      replicas: replicas.map(({ id, file }) => ({ id, file: resolve(file) })),
    });
  }
}
