import { AntiphonError } from '@antiphon/core';
import type { ServerExit } from './server-process.js';

export interface FailedStart {
  readonly binary: string;
  readonly address: string;
  readonly storeDir: string;
  readonly logFile: string;
  /** The last lines that this start wrote. */
  readonly log: readonly string[];
  /** Undefined: it ran, but did not become ready. */
  readonly exit: ServerExit | undefined;
  /** It became ready, but without JetStream. */
  readonly answered: boolean;
  readonly startTimeoutMs: number;
}

/** Did it end because another program listens on its port? */
export function isPortTaken(log: readonly string[]): boolean {
  return log.some((line) => line.includes('address already in use'));
}

/** What went wrong, what to do, and the server's own last words. */
export function startFailure(failed: FailedStart): AntiphonError {
  const log =
    failed.log.length === 0 ? '  (it wrote nothing)' : failed.log.map((line) => `  ${line}`).join('\n');
  const message = `nats-server did not start. ${explain(failed)}\nIts last log lines (${failed.logFile}):\n${log}`;
  const { binary, address, storeDir, logFile, exit } = failed;
  const context = { binary, address, storeDir, logFile, exitCode: exit?.code, exitSignal: exit?.signal };
  return new AntiphonError('NATS_SERVER_START', message, {
    context,
    ...(exit?.error === undefined ? {} : { cause: exit.error }),
  });
}

function explain(failed: FailedStart): string {
  const { address, storeDir, log, exit } = failed;
  const text = log.join('\n');
  if (exit?.error !== undefined) {
    return `${failed.binary} can't be run (${exit.error.message}). Correct the path of the binary.`;
  }
  if (isPortTaken(log)) {
    return `Another program listens on ${address}. Stop it, choose another port, or use it by its URL.`;
  }
  if (/cannot assign requested address|no such host/.test(text)) {
    return `${address} is not an address of this machine. Choose another host.`;
  }
  if (/listen.*permission denied/.test(text)) {
    return `This user may not listen on ${address}. Choose a port above 1023.`;
  }
  if (/no space left|insufficient storage|insufficient memory/i.test(text)) {
    return `The disk of ${storeDir} has too little space for what JetStream was allowed. Free disk space, or lower the limits.`;
  }
  if (/storage directory|read-only file system|permission denied/i.test(text)) {
    return `${storeDir} can't be written. Give this user the right to write there, or choose another folder.`;
  }
  if (failed.answered)
    return `${failed.binary} runs without JetStream. Use a build of nats-server that has it.`;
  if (exit === undefined) {
    const wait = `It was not ready within ${failed.startTimeoutMs} ms`;
    return `${wait}. A large store takes long to read. Raise \`startTimeoutMs\`, or see its log.`;
  }
  return `It ended with ${exit.signal ?? `exit code ${exit.code ?? 'unknown'}`}. See its log.`;
}
