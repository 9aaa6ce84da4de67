import { spawn, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { sendSignal, tieToThisProcess, untie, withParentDeathSignal } from './lifeline.js';

/** How a server process ended. */
export interface ServerExit {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** Set when it could not be started at all. */
  readonly error?: Error;
}

/** One run of one nats-server process. It ends with this process at the latest. */
export class ServerProcess {
  readonly exited: Promise<ServerExit>;
  #exit: ServerExit | undefined;

  private constructor(private readonly child: ChildProcess) {
    this.exited = new Promise((resolve) => {
      const finish = (exit: ServerExit): void => {
        if (this.#exit !== undefined) return;
        this.#exit = exit;
        if (child.pid !== undefined) untie(child.pid);
        resolve(exit);
      };
      child.once('exit', (code, signal) => finish({ code: code ?? undefined, signal: signal ?? undefined }));
      child.once('error', (error) => {
        if (child.pid === undefined) finish({ code: undefined, signal: undefined, error });
      });
    });
    if (child.pid !== undefined) tieToThisProcess(child.pid);
  }

  /**
   * Starts `binary -c configFile`; what it says before its log file is open goes to the descriptor.
   */
  static spawn(binary: string, configFile: string, logDescriptor: number): ServerProcess {
    const { command, args } = withParentDeathSignal(binary, ['-c', configFile]);
    // Its own process group: a Ctrl-C in a terminal must reach the replicas first, which still need
    // the server.
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', logDescriptor, logDescriptor],
      env: { ...process.env, ...schedulerSettings(process.env) },
    });
    return new ServerProcess(child);
  }

  /** Undefined when it could not be started at all. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  get exit(): ServerExit | undefined {
    return this.#exit;
  }

  /** False when it is gone. */
  signal(name: NodeJS.Signals): boolean {
    return this.#exit === undefined && this.pid !== undefined && sendSignal(this.pid, name);
  }

  /** SIGTERM, and SIGKILL when it has not ended within the limit. */
  async stop(timeoutMs: number): Promise<ServerExit> {
    this.signal('SIGTERM');
    // A paused process acts on SIGTERM only once it goes on.
    this.signal('SIGCONT');
    const inTime = new AbortController();
    const limit = sleep(timeoutMs, undefined, { signal: inTime.signal }).then(
      () => this.signal('SIGKILL'),
      () => false,
    );
    const exit = await this.exited;
    inTime.abort();
    await limit;
    return exit;
  }
}

const FEW_CORES = 2;

/**
 * A server that shares up to two cores with the replicas of its machine gets one of Go's
 * processors, unless somebody has decided otherwise: with two, its threads wake each other for
 * every message.
 */
function schedulerSettings(env: NodeJS.ProcessEnv): { readonly GOMAXPROCS?: string } {
  return env['GOMAXPROCS'] === undefined && availableParallelism() <= FEW_CORES ? { GOMAXPROCS: '1' } : {};
}
