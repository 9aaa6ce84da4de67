import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import { bootServer, reachableHost, type BootResult } from './boot.js';
import { findFreePort } from './free-port.js';
import { isFrozen } from './process-identity.js';
import { supportsSyncAlways } from './server-config.js';
import type { ServerExit, ServerProcess } from './server-process.js';
import { settle, type NatsServerOptions, type ServerSettings } from './server-settings.js';
import { releaseStore } from './store-claim.js';

export type NatsServerState = 'running' | 'paused' | 'stopped';

const RANDOM_PORT = -1;
const RANDOM_PORT_ATTEMPTS = 5;
const FREEZE_LIMIT_MS = 1000;

/**
 * A nats-server with JetStream as a child of this process. It ends with this process, also by a
 * signal; for kill -9 see lifeline.ts. stop, kill and restart may be called at any time: they run
 * one after the other.
 *
 * ```ts
 * await using server = await NatsServer.start({ storeDir: './nats' });
 * const connection = await connect({ servers: server.url });
 * ```
 */
export class NatsServer implements AsyncDisposable {
  #process: ServerProcess | undefined;
  #paused = false;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly settings: ServerSettings,
    readonly port: number,
    process: ServerProcess,
  ) {
    this.#adopt(process);
  }

  /**
   * Starts a server and waits until it answers with JetStream on.
   *
   * @throws AntiphonError NATS_SERVER_START with the last log lines and what to do;
   *   NATS_SERVER_NOT_FOUND; ABORTED.
   */
  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const settings = await settle(options);
    const { port = RANDOM_PORT, signal } = options;
    if (port !== RANDOM_PORT) {
      return new NatsServer(settings, port, readyProcess(await bootServer(settings, port, signal)));
    }
    for (let attempt = 1; ; attempt += 1) {
      const free = await freePort(settings.host);
      const result = await bootServer(settings, free, signal);
      // Somebody may take the port between the look and the start.
      if (result.kind === 'failed' && result.portTaken && attempt < RANDOM_PORT_ATTEMPTS) continue;
      return new NatsServer(settings, free, readyProcess(result));
    }
  }

  get url(): string {
    const host = reachableHost(this.settings.host);
    return `nats://${isIPv6(host) ? `[${host}]` : host}:${this.port}`;
  }

  /** Undefined while it is stopped. */
  get pid(): number | undefined {
    return this.#process?.exit === undefined ? this.#process?.pid : undefined;
  }

  get state(): NatsServerState {
    if (this.pid === undefined) return 'stopped';
    return this.#paused ? 'paused' : 'running';
  }

  get version(): string {
    return this.settings.version;
  }

  get binary(): string {
    return this.settings.binary;
  }

  get storeDir(): string {
    return this.settings.storeDir;
  }

  get logFile(): string {
    return this.settings.logFile;
  }

  /**
   * Is every stored message fsynced before it is acknowledged? False when that was asked of a
   * server below 2.10.
   */
  get syncsAlways(): boolean {
    return this.settings.syncInterval === 'always' && supportsSyncAlways(this.version);
  }

  /** Ends it: SIGTERM, and SIGKILL after `stopTimeoutMs`. Does nothing when it is stopped. */
  stop(): Promise<void> {
    return this.#inTurn(() => this.#end((running) => running.stop(this.settings.stopTimeoutMs)));
  }

  /** Ends it with SIGKILL, as a crash would. `restart` brings it back. */
  kill(): Promise<void> {
    return this.#inTurn(() =>
      this.#end((running) => {
        running.signal('SIGKILL');
        return running.exited;
      }),
    );
  }

  /**
   * Starts it again on the same port and store; stops it first when it runs. Errors as for `start`.
   */
  restart(signal?: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      await this.#end((running) => running.stop(this.settings.stopTimeoutMs));
      this.#adopt(readyProcess(await bootServer(this.settings, this.port, signal)));
    });
  }

  /**
   * Freezes it (SIGSTOP): its connections stay open and nothing answers, from when this resolves.
   */
  async pause(): Promise<void> {
    const pid = this.#signalRunning('SIGSTOP');
    this.#paused = true;
    const deadline = performance.now() + FREEZE_LIMIT_MS;
    while (!isFrozen(pid) && this.pid === pid && performance.now() < deadline) await sleep(1);
  }

  /** Lets it go on (SIGCONT). */
  resume(): void {
    this.#signalRunning('SIGCONT');
    this.#paused = false;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #adopt(process: ServerProcess): void {
    this.#process = process;
    void process.exited.then((exit) => {
      if (this.#process !== process) return;
      this.#forget(process);
      this.settings.onUnexpectedExit(exit);
    });
  }

  async #end(how: (running: ServerProcess) => Promise<ServerExit>): Promise<void> {
    const running = this.#process;
    if (running === undefined) return;
    const ended = how(running);
    // Before it ends: from here on that is no surprise.
    this.#process = undefined;
    await ended;
    this.#forget(running);
  }

  #forget({ pid }: ServerProcess): void {
    this.#process = undefined;
    this.#paused = false;
    if (pid !== undefined) releaseStore(this.storeDir, pid);
  }

  #signalRunning(name: NodeJS.Signals): number {
    const running = this.#process;
    if (running?.pid !== undefined && running.signal(name)) return running.pid;
    throw new AntiphonError('CLOSED', `The nats-server at ${this.url} is stopped. Call restart() first.`);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

function readyProcess(result: BootResult): ServerProcess {
  if (result.kind === 'failed') throw result.error;
  return result.server;
}

async function freePort(host: string): Promise<number> {
  const port = await findFreePort(host);
  if (port !== undefined) return port;
  const message = `No free port to listen on was found at ${host}. Choose another host, or name a port.`;
  throw new AntiphonError('NATS_SERVER_START', message, { context: { host } });
}
