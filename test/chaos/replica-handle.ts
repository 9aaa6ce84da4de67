import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface ReplicaConfig {
  readonly cluster: string;
  readonly id: string;
  readonly servers: string;
  readonly file: string;
  readonly journal: string;
  readonly topology: unknown;
  readonly failover?: unknown;
  readonly intervalMs?: number;
  /** What runs; replica-process.mjs when absent. */
  readonly program?: string;
  /** For sync-process.mjs: the replica's `update` and `limits`. */
  readonly update?: unknown;
  readonly limits?: unknown;
  /** Of the process, beside the test's own. */
  readonly env?: Readonly<Record<string, string>>;
}

interface Reply {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface Call {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const PROGRAM = './replica-process.mjs';

/** A replica in a process of its own, which can be killed, stopped and continued. */
export class ReplicaHandle {
  #child: ChildProcess | undefined;
  #replies: Reply[] = [];
  #stderr = '';
  #calls = 0;
  readonly #pending = new Map<number, Call>();
  readonly failures: Reply[] = [];

  constructor(readonly config: ReplicaConfig) {}

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.config.id} is not running`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stderr(): string {
    return this.#stderr;
  }

  async start(timeoutMs = 30_000): Promise<void> {
    const program = fileURLToPath(new URL(this.config.program ?? PROGRAM, import.meta.url));
    const child = fork(program, [JSON.stringify(this.config)], {
      // Not the test runner's conditions: processes run what was built.
      execArgv: [],
      env: { ...process.env, ...this.config.env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child = child;
    this.#replies = [];
    child.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-8_000);
    });
    child.on('message', (message) => {
      const reply = message as Reply;
      if (reply.type === 'write-failed') this.failures.push(reply);
      else if (reply.type === 'answer') this.#answered(reply);
      else this.#replies.push(reply);
    });
    child.once('exit', () => {
      for (const { reject } of this.#pending.values()) reject(new Error(`${this.config.id} has ended`));
      this.#pending.clear();
    });
    await this.#reply('ready', timeoutMs);
  }

  /**
   * Asks the process; rejects when it ends first. A process that is stopped answers when it
   * goes on.
   */
  ask<T>(type: string, fields: Record<string, unknown> = {}): Promise<T> {
    if (!this.running) return Promise.reject(new Error(`${this.config.id} is not running`));
    const call = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(call, { resolve: (value) => resolve(value as T), reject });
      this.send({ ...fields, type, call });
    });
  }

  #answered({ call, value, error }: Reply): void {
    const pending = this.#pending.get(call as number);
    this.#pending.delete(call as number);
    if (error === undefined) pending?.resolve(value);
    else pending?.reject(new Error(`${this.config.id}: ${String(error)}`));
  }

  send(command: Record<string, unknown>): void {
    this.#child?.send(command, () => undefined);
  }

  load(lanes = 2, pauseMs = 1): void {
    this.send({ type: 'load', lanes, pauseMs });
  }

  async idle(timeoutMs = 60_000): Promise<void> {
    this.send({ type: 'idle' });
    await this.#reply('idle', timeoutMs);
  }

  async status(timeoutMs = 30_000): Promise<{ status: Record<string, unknown>; rssBytes: number }> {
    this.send({ type: 'status' });
    return (await this.#reply('status', timeoutMs)) as never;
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  async close(): Promise<void> {
    if (!this.running) return;
    this.send({ type: 'close' });
    const child = this.#child;
    const timer = setTimeout(() => child?.kill('SIGKILL'), 20_000);
    await exited(child);
    clearTimeout(timer);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (!this.running) return;
    this.#child?.kill(signal);
    await exited(this.#child);
  }

  async #reply(type: string, timeoutMs: number): Promise<Reply> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const index = this.#replies.findIndex((reply) => reply.type === type);
      if (index >= 0) return this.#replies.splice(index, 1)[0] as Reply;
      if (!this.running)
        throw new Error(`${this.config.id} ended while waiting for ${type}:\n${this.#stderr}`);
      if (performance.now() > deadline)
        throw new Error(`${this.config.id}: no ${type} in ${timeoutMs} ms:\n${this.#stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function exited(child: ChildProcess | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
  });
}
