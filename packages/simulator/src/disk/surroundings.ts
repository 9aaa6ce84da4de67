import { statSync } from 'node:fs';
import { abortError, sleep, toAntiphonError, type Clock } from '@antiphon/core';
import {
  PROCESS,
  ReadWork,
  storeError,
  StreamWork,
  type ReaderOptions,
  type StreamsOptions,
  type Surroundings,
} from '@antiphon/sqlite/internal';
import { openDatabase } from '@antiphon/sqlite';
import type { Faults } from '@antiphon/testing';
import type { Program } from './connection.js';
import type { DatabaseFile } from './database-file.js';
import { busyError, fullError } from './sqlite-error.js';

/** Small, so that big transactions come in parts. */
const SEALING = { packBytes: 1500, partBytes: 900 };
/** Time does not pass while a simulated process works; but long work must give way now and then. */
const WORK_STEP_MS = 1.2;
/** Another program's transactions. */
const LONGEST_BUSY_MS = 80;

export const UNIX_EPOCH_JULIAN_DAY = 2440587.5;
export const DAY_MS = 86_400_000;

interface SimulatedProcess {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly file: DatabaseFile;
  /** Unlike every other process's. */
  readonly name: string;
}

/** What a store finds around it in a simulated process. `program` is who it is for its database. */
export function simulatedSurroundings(process: SimulatedProcess): {
  readonly surroundings: Surroundings;
  readonly program: Program;
} {
  const { clock, faults, file, name } = process;
  const program = new FaultyProgram(name, clock, faults, file);
  let steps = 0;
  let given = 0;
  const julianDay = (): number => UNIX_EPOCH_JULIAN_DAY + clock.nowMs() / DAY_MS;
  const surroundings: Surroundings = {
    monotonicMs: () => clock.monotonicMs() + ++steps * WORK_STEP_MS,
    sleep: (delayMs) => sleep(clock, delayMs),
    turn: () => sleep(clock, faults.storeMs()),
    setTimer: (delayMs, fire) => {
      const timer = clock.setTimer(delayMs, fire);
      return () => timer.cancel();
    },
    unique: () => `${name}-${++given}`,
    openDatabase: (path, options) => {
      const settings = { ...options, busyTimeoutMs: 0, julianDay };
      // A recapture has a database beside it, which is made anew each time.
      return path === file.path ? file.connect(program, settings) : openDatabase(path, settings);
    },
    assertCanRead: () => undefined,
    reader: (options) => new InlineReader(options, surroundings),
    streams: (options) => new InlineStreams(options, surroundings),
    fileAt: (path) => Promise.resolve(statSync(path, { bigint: true })),
    sealing: SEALING,
    longestRunMs: PROCESS.longestRunMs,
  };
  return { surroundings, program };
}

class FaultyProgram implements Program {
  #busyUntilMs = 0;

  constructor(
    readonly name: string,
    private readonly clock: Clock,
    private readonly faults: Faults,
    private readonly file: DatabaseFile,
  ) {}

  beforeBegin(): void {
    const nowMs = this.clock.monotonicMs();
    if (nowMs >= this.#busyUntilMs && this.faults.strikes('storeBusy'))
      this.#busyUntilMs = nowMs + this.faults.delayMs(LONGEST_BUSY_MS);
    if (nowMs < this.#busyUntilMs) throw busyError();
  }

  beforeCommit(): void {
    if (this.faults.strikes('storeFull') || this.file.full) throw fullError();
  }
}

/** Reads at once, where a product has a process for it. */
class InlineReader {
  readonly #work: ReadWork;

  constructor({ file }: ReaderOptions, { openDatabase }: Pick<Surroundings, 'openDatabase'>) {
    this.#work = new ReadWork(file, openDatabase);
  }

  read: ReturnType<Surroundings['reader']>['read'] = (request, signal) => {
    if (signal?.aborted === true) return Promise.reject(abortError(signal, 'The caller gave up the read.'));
    try {
      return Promise.resolve(this.#work.run(request) as never);
    } catch (thrown) {
      return Promise.reject(toAntiphonError(storeError(thrown, 'reading failed')));
    }
  };

  close(): Promise<void> {
    this.#work.close();
    return Promise.resolve();
  }
}

/** Likewise; a piece at each call, as a product has it. */
class InlineStreams {
  readonly #open = new Set<StreamWork>();

  constructor(
    private readonly options: StreamsOptions,
    private readonly surroundings: Pick<Surroundings, 'openDatabase'>,
  ) {}

  open: ReturnType<Surroundings['streams']>['open'] = async (request, signal) => {
    if (signal.aborted) throw abortError(signal, 'The caller gave up the stream.');
    const work = new StreamWork(this.options.file, request, this.surroundings.openDatabase);
    this.#open.add(work);
    const close = (): void => {
      if (this.#open.delete(work)) work.close();
    };
    return {
      columns: work.columns,
      next: async () => {
        if (signal.aborted) throw abortError(signal, 'The caller gave up the stream.');
        const rows = this.#open.has(work) ? work.next() : [];
        if (rows.length > 0) return rows;
        close();
        return undefined;
      },
      close,
    };
  };

  async close(): Promise<void> {
    for (const work of this.#open) work.close();
    this.#open.clear();
  }
}
