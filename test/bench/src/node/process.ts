import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Answer } from './protocol.js';

const STOP_TIMEOUT_MS = 15_000;
/**
 * Linux's USER_HZ: what /proc counts processor time in, on every architecture that Node runs on.
 */
const TICKS_PER_SECOND = 100;
const BYTES_PER_MB = 1_000_000;

/** A program of this bench as a process of its own, called over IPC. */
export class BenchProcess {
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #calls = 0;

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    child.on('message', (message) => this.#settle(message as Answer));
    child.once('exit', (code, signal) => this.#lost(`${name} ended with ${signal ?? `exit code ${code}`}`));
  }

  static spawn(name: string, program: 'replica' | 'foreign-writer' | 'client'): BenchProcess {
    const file = fileURLToPath(new URL(`./${program}.js`, import.meta.url));
    // A process group of its own: a Ctrl-C reaches the bench only, which ends the others in order.
    const child = fork(file, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    return new BenchProcess(name, child);
  }

  call<T>(method: string, request?: unknown): Promise<T> {
    const call = (this.#calls += 1);
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      this.child.send({ call, method, request }, (error) => {
        if (error !== null) this.#settle({ call, error: `${this.name} is gone: ${error.message}` });
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Processor seconds so far, and memory. */
  usage(): ProcessUsage {
    return processUsage(this.pid);
  }

  /** Processor seconds so far of it and of the processes that it has started. */
  familyCpuSeconds(): number {
    const family = [this.pid, ...childrenOf(this.pid)];
    return family.reduce((sum, pid) => sum + processUsage(pid).cpuSeconds, 0);
  }

  /** Also one that is stopped. Idempotent. */
  async kill(): Promise<void> {
    if (this.#hasEnded) return;
    const exited = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGKILL');
    await exited;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.child.kill(name);
  }

  /** Asks it to stop, kills it when it does not. Idempotent. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return;
    const exited = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    const limit = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.call('stop').catch(() => undefined);
    if (this.child.connected) this.child.disconnect();
    await exited;
    clearTimeout(limit);
  }

  get #hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.call);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.call);
    if ('error' in answer) waiting.reject(new Error(`${this.name}: ${answer.error}`));
    else waiting.resolve(answer.value as never);
  }

  #lost(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
    this.#waiting.clear();
  }
}

export interface ProcessUsage {
  readonly cpuSeconds: number;
  readonly residentMb: number;
  /** The most it ever was. */
  readonly peakResidentMb: number;
}

/** None where there is no /proc. */
function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/**
 * From /proc, so that it costs the measured process nothing. Zeros where there is no /proc, or no
 * such process.
 */
export function processUsage(pid: number): ProcessUsage {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in parentheses, which may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kilobytes = (name: string): number =>
      Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    return {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
      residentMb: (kilobytes('VmRSS') * 1024) / BYTES_PER_MB,
      peakResidentMb: (kilobytes('VmHWM') * 1024) / BYTES_PER_MB,
    };
  } catch {
    return { cpuSeconds: 0, residentMb: 0, peakResidentMb: 0 };
  }
}
