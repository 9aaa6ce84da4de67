import { existsSync } from 'node:fs';

/**
 * Ends server processes with this process, however it ends:
 * - normally, by process.exit or by an uncaught error: the `exit` event;
 * - by a signal that nobody else handles: handled here, then raised again so that the exit status
 *   stays honest;
 * - by kill -9: nothing of ours runs any more. On Linux the kernel is asked beforehand, through
 *   `setpriv --pdeathsig` (util-linux), to tell the server. Elsewhere the server stays until its
 *   store is opened again (store-claim.ts).
 */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type EndingSignal = (typeof ENDING_SIGNALS)[number];

const SETPRIV = '/usr/bin/setpriv';

const tied = new Set<number>();

/** Ends that process when this one ends. */
export function tieToThisProcess(pid: number): void {
  if (tied.size === 0) {
    process.on('exit', endAll);
    for (const name of ENDING_SIGNALS) process.on(name, onSignal);
  }
  tied.add(pid);
}

/** To be called once the process is gone: its pid may soon mean another one. */
export function untie(pid: number): void {
  tied.delete(pid);
  if (tied.size > 0) return;
  process.off('exit', endAll);
  for (const name of ENDING_SIGNALS) process.off(name, onSignal);
}

/**
 * The command that runs `binary` so that the kernel ends it when this process is gone; itself where
 * there is no way.
 */
export function withParentDeathSignal(
  binary: string,
  args: readonly string[],
): { readonly command: string; readonly args: readonly string[] } {
  if (process.platform !== 'linux' || !existsSync(SETPRIV)) return { command: binary, args };
  return { command: SETPRIV, args: ['--pdeathsig', 'TERM', '--', binary, ...args] };
}

function endAll(): void {
  for (const pid of tied) {
    sendSignal(pid, 'SIGTERM');
    // A paused process acts on SIGTERM only once it goes on.
    sendSignal(pid, 'SIGCONT');
  }
}

function onSignal(name: EndingSignal): void {
  // An application that handles the signal itself decides when it ends; its `exit` event comes here
  // too.
  if (process.listenerCount(name) > 1) return;
  endAll();
  process.off(name, onSignal);
  process.kill(process.pid, name);
}

/** Signals a process; false when it is gone. */
export function sendSignal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
