import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { AntiphonError, checkRequired, type OptionNames } from '@antiphon/core';
import { environmentOfHelpers } from './helper-environment.js';
import { watchStatements } from './running-statement.js';
import {
  HEARTBEAT,
  IS_RUNNING,
  TEXT_BYTES,
  TEXT_LENGTH,
  TEXT_OFFSET,
  type WatchdogData,
} from './watchdog-layout.js';

/** What a watchdog says, and when. */
export interface WatchdogOptions {
  /** What this process is, for its last words: `replica eu-1`. */
  readonly name: string;
  /**
   * How long a statement may keep the main thread, in milliseconds, before the process is ended.
   * @defaultValue 60 000
   */
  readonly blockedMs?: number;
}

const WATCHDOG_OPTIONS: OptionNames<WatchdogOptions> = { name: true, blockedMs: true };
export const DEFAULT_BLOCKED_MS = 60_000;
const HEARTBEAT_MS = 250;

/**
 * Ends this process when a statement of a write does not end. Writes run on the main thread, inside
 * the replica's transaction, and `node:sqlite` can't interrupt them: meanwhile nothing is answered,
 * and signals are not heard. Another thread notices, names the statement on stderr, and kills the
 * process. The database is safe: SQLite takes the open transaction back at the next start.
 *
 * `antiphon run` has one. For programs of your own:
 *
 *     using watchdog = StatementWatchdog.start({ name: 'my service', blockedMs: 60_000 });
 *
 * One for each process. It counts its own ticks, so that a machine or a process that was paused is
 * not taken for one that is blocked.
 */
export class StatementWatchdog implements Disposable {
  readonly #worker: Worker;
  readonly #heartbeat: NodeJS.Timeout;

  private constructor(options: WatchdogOptions) {
    checkRequired(options, WATCHDOG_OPTIONS, 'StatementWatchdog.start()', ['name']);
    const { name, blockedMs = DEFAULT_BLOCKED_MS } = options;
    if (!Number.isFinite(blockedMs) || blockedMs <= 0)
      throw new AntiphonError('BAD_OPTION', `\`blockedMs\` is ${blockedMs}. Give a number above 0.`);
    const shared = new SharedArrayBuffer(TEXT_OFFSET + TEXT_BYTES);
    const cells = new Int32Array(shared, 0, TEXT_OFFSET / Int32Array.BYTES_PER_ELEMENT);
    const text = Buffer.from(shared, TEXT_OFFSET, TEXT_BYTES);
    let known: string | undefined;
    watchStatements({
      begins: (sql) => {
        // The same one again and again is the usual case.
        if (sql !== known) {
          Atomics.store(cells, TEXT_LENGTH, text.write(sql.slice(0, TEXT_BYTES)));
          known = sql;
        }
        Atomics.store(cells, IS_RUNNING, 1);
      },
      ends: () => void Atomics.store(cells, IS_RUNNING, 0),
    });
    this.#heartbeat = setInterval(() => void Atomics.add(cells, HEARTBEAT, 1), HEARTBEAT_MS).unref();
    const data: WatchdogData = { shared, name, blockedMs };
    this.#worker = new Worker(programPath(), {
      workerData: data,
      ...{ execArgv: [], env: environmentOfHelpers() },
      resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.unref();
  }

  static start(options: WatchdogOptions): StatementWatchdog {
    return new StatementWatchdog(options);
  }

  stop(): void {
    watchStatements(undefined);
    clearInterval(this.#heartbeat);
    void this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** Plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function programPath(): string {
  const here = import.meta.url;
  const name = 'watchdog-thread.js';
  const path = fileURLToPath(new URL(here.endsWith('.ts') ? `../dist/${name}` : `./${name}`, here));
  if (existsSync(path)) return path;
  throw new AntiphonError(
    'INTERNAL',
    'The watchdog of @antiphon/sqlite is missing. Install the packages with all of their files: a bundler has to leave them external. In a checkout, run `npm run build`.',
  );
}
