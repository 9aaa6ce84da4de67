import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/**
 * Tells whether a pid that was written down still means the same process: pids are reused, a pid
 * together with the moment its process began is not.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, in the system's own words; only ever compared for equality. */
  readonly startedAt: string;
}

const PS_TIMEOUT_MS = 2000;

/**
 * The identity of a live process; undefined when there is none (a zombie counts as none: it can do
 * nothing more).
 */
export function identify(pid: number): ProcessIdentity | undefined {
  if (!existsSync('/proc/self/stat')) {
    const startedAt = askPs(pid, 'lstart=');
    return startedAt === undefined ? undefined : { pid, startedAt };
  }
  const fields = statFields(pid);
  const [state, startTicks] = [fields[0], fields[19]];
  if (startTicks === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, startedAt: startTicks };
}

/** Did SIGSTOP take effect? Its threads do not all stop at the instant it is sent. */
export function isFrozen(pid: number): boolean {
  const state = existsSync('/proc/self/stat') ? statFields(pid)[0] : askPs(pid, 'state=');
  return state?.startsWith('T') === true;
}

export function isSameProcess({ pid, startedAt }: ProcessIdentity): boolean {
  return identify(pid)?.startedAt === startedAt;
}

/** The command line of a live process as one text; undefined when it is gone or another user's. */
export function commandLineOf(pid: number): string | undefined {
  if (!existsSync('/proc/self/stat')) return askPs(pid, 'command=');
  return readProc(pid, 'cmdline')?.replaceAll('\0', ' ').trim();
}

/**
 * proc(5): pid (command) state ppid …; the command may hold anything, so the fields count from its
 * last parenthesis.
 */
function statFields(pid: number): readonly string[] {
  const stat = readProc(pid, 'stat') ?? '';
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}

/** For systems without /proc (macOS). */
function askPs(pid: number, column: string): string | undefined {
  const { status, stdout } = spawnSync('ps', ['-o', column, '-p', String(pid)], {
    encoding: 'utf8',
    timeout: PS_TIMEOUT_MS,
  });
  const answer = status === 0 ? stdout.trim() : '';
  return answer === '' ? undefined : answer;
}
