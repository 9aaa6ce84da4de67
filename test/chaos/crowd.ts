import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { OperationRecord } from '@antiphon/testing';

const APPS_PER_PROCESS = 50;

export interface CrowdOptions {
  readonly cluster: string;
  readonly servers: string;
  readonly apps: number;
  readonly seed: string;
  /** Between two calls of one application, on average. */
  readonly pauseMs: number;
  /** Whether a takeover may undo what was acknowledged, and end a session for that. */
  readonly loses: boolean;
}

/** What the applications have met. Writes are named by the rows of `done` that they insert. */
export interface CrowdReport {
  readonly acknowledged: readonly string[];
  /** For certain. */
  readonly failed: readonly string[];
  readonly unknown: readonly string[];
  /** What must not happen, a sentence each. */
  readonly faults: readonly string[];
  /** By the kind of call and the code. */
  readonly errors: Readonly<Record<string, number>>;
  /** What came about, by the kind of call. */
  readonly done: Readonly<Record<string, number>>;
  /** Of those reads that any replica could answer. */
  readonly slowestReadMs: number;
  /** Of the registers. */
  readonly records: readonly OperationRecord[];
}

/** Applications without a database of their own, in some processes. */
export class Crowd implements Disposable {
  readonly #children: readonly ChildProcess[];

  constructor({ apps, ...options }: CrowdOptions) {
    const program = fileURLToPath(new URL('crowd-process.mjs', import.meta.url));
    const processes = Math.ceil(apps / APPS_PER_PROCESS);
    this.#children = Array.from({ length: processes }, (_, index) => {
      const first = index * APPS_PER_PROCESS;
      const part = { ...options, first, count: Math.min(APPS_PER_PROCESS, apps - first) };
      return fork(program, [JSON.stringify(part)], {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
    });
  }

  /** Ends them when what they are at has ended. */
  async end(): Promise<CrowdReport> {
    const reports = await Promise.all(this.#children.map(reportOf));
    return {
      acknowledged: reports.flatMap(({ acknowledged }) => acknowledged),
      failed: reports.flatMap(({ failed }) => failed),
      unknown: reports.flatMap(({ unknown }) => unknown),
      faults: reports.flatMap(({ faults }) => faults),
      errors: sumOf(reports.map(({ errors }) => errors)),
      done: sumOf(reports.map(({ done }) => done)),
      slowestReadMs: Math.max(...reports.map(({ slowestReadMs }) => slowestReadMs)),
      records: reports.flatMap(({ records }) => records),
    };
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

function reportOf(child: ChildProcess): Promise<CrowdReport> {
  return new Promise((resolve, reject) => {
    child.once('message', (report) => resolve(report as CrowdReport));
    child.once('exit', (code, signal) =>
      reject(new Error(`applications ended: ${signal ?? `exit code ${code}`}`)),
    );
    child.send({ type: 'end' });
  });
}

function sumOf(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const counts of all)
    for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
