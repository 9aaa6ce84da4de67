import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AntiphonError, ERROR_CODES, type ErrorCode } from '@antiphon/core';
import { parseReport, type ChildReport } from './parent-link.js';

const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** A process that ran this long failed for a new reason: the backoff starts over. */
const STEADY_MS = 30_000;
/**
 * Of silence: a start takes as long as the database and the log are large. A replica retries what
 * may go away by itself; whoever waits at a terminal wants to know.
 */
const START_SILENCE_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const SHOWN_LOG_BYTES = 2000;
/** See watchdog-thread.ts of @antiphon/sqlite. */
const WATCHDOG_PREFIX = 'antiphon: ';

/** A replica that runs and does not get on. */
export interface Trouble {
  readonly id: string;
  readonly state: 'stalled' | 'holding';
  readonly code: string;
  readonly message: string;
}

export interface ReplicaProcessOptions {
  readonly id: string;
  readonly configFile: string;
  readonly logFile: string;
  /** One sentence for people whenever the process dies and is started again. */
  readonly onEvent: (message: string) => void;
  /** Called whenever its process has ended by itself. */
  readonly onEnded?: () => void;
  /** Before it is started again for the first time. 500 when absent. */
  readonly restartMs?: number;
  /** A start that does not get on for so long is given up. 60 000 when absent. */
  readonly startSilenceMs?: number;
}

/**
 * One replica as a process of its own (`antiphon run`), started again with backoff when it dies.
 * Its process group is its own: a Ctrl-C in the terminal reaches this process only, which then
 * stops the replicas in order.
 */
export class ReplicaProcess {
  #child: ChildProcess | undefined;
  #ready = false;
  #restarts = 0;
  #failures = 0;
  #stopping = false;
  #backoff: NodeJS.Timeout | undefined;
  #trouble: Trouble | undefined;
  #lastFailure: Extract<ChildReport, { type: 'failed' }> | undefined;

  constructor(private readonly options: ReplicaProcessOptions) {}

  get id(): string {
    return this.options.id;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Why it replicates nothing, or not everything, at the moment; undefined while it does. */
  get trouble(): Trouble | undefined {
    return this.#trouble;
  }

  get #silenceMs(): number {
    return this.options.startSilenceMs ?? START_SILENCE_MS;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Starts it and waits until it takes part in the cluster. A process that ends before that is an
   * error: its reason would only repeat itself.
   *
   * @throws AntiphonError what the process itself reported, or INTERNAL with the last lines of its
   *   log; ABORTED, TIMEOUT.
   */
  start(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        reject(new AntiphonError('ABORTED', `Starting replica ${this.id} was interrupted.`));
      };
      if (signal.aborted) return aborted();
      signal.addEventListener('abort', aborted, { once: true });
      const silence = setTimeout(() => reject(this.#startTimedOut()), this.#silenceMs);
      this.#spawn((outcome) => {
        if (outcome === 'progress') return void silence.refresh();
        clearTimeout(silence);
        signal.removeEventListener('abort', aborted);
        if (outcome === 'ready') resolve();
        else reject(this.#startFailure());
      });
    });
  }

  /** SIGTERM, and SIGKILL after ten seconds. Idempotent; never rejects. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#backoff);
    const child = this.#child;
    // One that could not be started has no number, and no end.
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    // A paused process acts on SIGTERM only once it goes on.
    child.kill('SIGCONT');
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(limit);
  }

  #spawn(firstOutcome?: (outcome: 'progress' | 'ready' | 'failed') => void): void {
    const { configFile, logFile, id } = this.options;
    const log = openSync(logFile, 'a');
    const bin = fileURLToPath(new URL('../bin.js', import.meta.url));
    const child = spawn(process.execPath, [bin, 'run', '--config', configFile, '--json'], {
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.#ready = false;
    this.#lastFailure = undefined;
    this.#trouble = undefined;
    const startedAt = performance.now();
    let ended = false;
    const onEnd = (how: string): void => {
      if (ended) return;
      ended = true;
      if (firstOutcome !== undefined && !this.#ready) return firstOutcome('failed');
      if (this.#stopping) return;
      this.options.onEnded?.();
      if (performance.now() - startedAt > STEADY_MS) this.#failures = 0;
      this.#restartLater(`replica ${id} ${how}`);
    };
    child.on('message', (message) => {
      const report = parseReport(message);
      if (report?.type === 'failed') this.#lastFailure = report;
      if (report?.type === 'lifecycle') this.#heard(report);
      if (report?.type === 'progress' && !this.#ready) firstOutcome?.('progress');
      if (report?.type !== 'ready' || this.#ready) return;
      this.#ready = true;
      if (this.#restarts > 0) this.options.onEvent(`replica ${id} is back (pid ${child.pid})`);
      firstOutcome?.('ready');
    });
    child.once('error', (error) => onEnd(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => onEnd(`ended with ${signal ?? `exit code ${code}`}`));
  }

  #heard({ state, reason }: Extract<ChildReport, { type: 'lifecycle' }>): void {
    if (this.#stopping) return;
    const { id, onEvent } = this.options;
    const before = this.#trouble;
    this.#trouble =
      (state === 'stalled' || state === 'holding') && reason !== undefined
        ? { id, state, ...reason }
        : undefined;
    if (this.#trouble !== undefined) onEvent(troubleText(this.#trouble));
    else if (before !== undefined) onEvent(`replica ${id} goes on (${state})`);
  }

  #restartLater(what: string): void {
    const { restartMs = FIRST_BACKOFF_MS } = this.options;
    const delayMs = Math.min(MAX_BACKOFF_MS, restartMs * 2 ** this.#failures);
    this.#failures += 1;
    this.#restarts += 1;
    const reason = this.#lastFailure?.message ?? lastWords(this.options.logFile);
    const why = reason === undefined ? '' : ` (${reason})`;
    this.options.onEvent(`${what}${why}; starting it again in ${delayMs / 1000} s`);
    this.#backoff = setTimeout(() => {
      if (!this.#stopping) this.#spawn();
    }, delayMs);
  }

  #startFailure(): AntiphonError {
    const { id, logFile } = this.options;
    const context = { replica: id, logFile };
    const failure = this.#lastFailure;
    if (failure !== undefined) {
      const code: ErrorCode = isErrorCode(failure.code) ? failure.code : 'INTERNAL';
      return new AntiphonError(code, `Replica ${id} did not start: ${failure.message}`, { context });
    }
    const message = `Replica ${id} did not start. The end of ${logFile}:\n${logEnd(logFile)}`;
    return new AntiphonError('INTERNAL', message, { context });
  }

  #startTimedOut(): AntiphonError {
    const { id, logFile } = this.options;
    const message = `Replica ${id} did not start: nothing has moved for ${this.#silenceMs / 1000} s. The end of ${logFile}:\n${logEnd(logFile)}`;
    return new AntiphonError('TIMEOUT', message, { context: { replica: id, logFile } });
  }
}

export function troubleText({ id, state, message }: Trouble): string {
  return state === 'stalled' ? `replica ${id} has stalled: ${message}` : `replica ${id} holds: ${message}`;
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** Of the thread that ends a process which is blocked: it has no other way to say why. */
function lastWords(logFile: string): string | undefined {
  const line = logEnd(logFile).split('\n').at(-1);
  return line?.startsWith(WATCHDOG_PREFIX) === true ? line.slice(WATCHDOG_PREFIX.length) : undefined;
}

function logEnd(logFile: string): string {
  try {
    return readFileSync(logFile, 'utf8').slice(-SHOWN_LOG_BYTES).trim();
  } catch {
    return '(there is no log)';
  }
}
