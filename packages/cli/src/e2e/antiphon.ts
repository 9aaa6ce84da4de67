import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@antiphon/testing';

/** For `eventually`: processes start, and the machine runs other tests as well. */
export const PATIENCE_MS = 60_000;

/** The command as users run it: the built one, as a process. */
const BIN = fileURLToPath(new URL('../../dist/bin.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Where {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs `antiphon …` to its end. */
export async function antiphon(args: readonly string[], where: Where): Promise<Ended> {
  return new RunningCommand(args, where).ended;
}

/** `antiphon … --json`, its one line of output parsed. */
export async function antiphonJson<T>(args: readonly string[], where: Where): Promise<T> {
  const { code, stdout, stderr } = await antiphon([...args, '--json'], where);
  if (code !== 0) throw new Error(`antiphon ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as T;
}

/** An `antiphon` that stays: what it has written so far, and how to end it. */
export class RunningCommand {
  readonly ended: Promise<Ended>;
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], { cwd, env }: Where) {
    const { ANTIPHON_CLUSTER: _c, ANTIPHON_SERVERS: _s, ...inherited } = process.env;
    this.child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      env: { ...inherited, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => void (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => void (this.stderr += text));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Waits until its stdout has the text. Fails when the command ends before. */
  async says(text: string | RegExp): Promise<void> {
    let over = false;
    void this.ended.then(() => (over = true));
    const found = (): boolean =>
      typeof text === 'string' ? this.stdout.includes(text) : text.test(this.stdout);
    await eventually(`the command says ${String(text)}`, () => found() || over, {
      timeoutMs: PATIENCE_MS,
      seen: () => this.stdout + this.stderr,
    });
    if (!found()) throw new Error(`it ended without saying ${String(text)}:\n${this.stdout}${this.stderr}`);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** Every process below this one, from the process table. */
export function descendants(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  const pairs = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
  const found = [pid];
  for (let index = 0; index < found.length; index += 1) {
    for (const [child, parent] of pairs)
      if (parent === found[index] && child !== undefined) found.push(child);
  }
  return found.slice(1);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'antiphon-cli-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * The sqlite3 shell: a program that knows nothing of Antiphon. Its errors are returned, not thrown.
 */
export function sqlite3(file: string, sql: string): { readonly stdout: string; readonly stderr: string } {
  const { stdout, stderr, error } = spawnSync('sqlite3', ['-cmd', '.timeout 5000', file, sql], {
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return { stdout: stdout.trim(), stderr: stderr.trim() };
}
