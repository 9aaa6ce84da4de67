import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Seeds that a process takes at once: what it compiled and warmed up is to last for some time. */
const SEEDS_AT_ONCE = 10;

interface Job {
  readonly first: number;
  readonly last: number;
  /** At the same time. */
  readonly processes: number;
  /**
   * What runs `first` to `last`, when they are put behind `--seeds`, and prints a line of JSON for
   * each run, and one for all of them.
   */
  readonly command: readonly string[];
  /** Returns whether it was the last line of its process. */
  readonly onLine: (line: string) => boolean;
  /** No process is started any more. */
  readonly isOver: () => boolean;
}

/**
 * Runs seeds in several processes. The order of the lines is anybody's guess; each run depends on
 * its seed only.
 */
export async function inProcesses({ first, last, processes, ...job }: Job): Promise<void> {
  let next = first;
  const work = async (): Promise<void> => {
    while (next <= last && !job.isOver()) {
      const from = next;
      next += SEEDS_AT_ONCE;
      await runOne([...job.command, '--seeds', `${from}-${Math.min(last, next - 1)}`], job.onLine);
    }
  };
  await Promise.all(Array.from({ length: processes }, work));
}

function runOne(command: readonly string[], onLine: Job['onLine']): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...command], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    let isWhole = false;
    lines.on('line', (line) => {
      isWhole = onLine(line);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      // What failed to start ends with 1 as well.
      if (isWhole && (code === 0 || code === 1)) resolve();
      else reject(new Error(`A simulating process has ended with ${code}: ${command.join(' ')}`));
    });
  });
}
