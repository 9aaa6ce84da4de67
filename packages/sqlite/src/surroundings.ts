import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
// The global one is looked up by a getter, each time.
import { performance } from 'node:perf_hooks';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import type { OpenOptions } from './driver/open-options.js';
import { Reader, type ReaderOptions } from './reader.js';
import { assertPrograms } from './reading-program.js';
import { RowStreams, type StreamsOptions } from './row-streams.js';

/** Which file stands at a path. */
export interface FileId {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Sizes of sealed messages, in bytes. */
export interface SealingLimits {
  /** Transactions are packed into one message up to this. */
  readonly packBytes: number;
  /** A transaction over this is cut into parts of this size. */
  readonly partBytes: number;
}

/**
 * What a store takes from the process that it runs in: time, chance, files. A simulation brings its
 * own, so that a run can be repeated exactly.
 */
export interface Surroundings {
  /** For durations. */
  monotonicMs(): number;
  /** Keeps the process alive meanwhile. */
  sleep(delayMs: number): Promise<void>;
  /** Gives timers and I/O a turn. */
  turn(): Promise<void>;
  /** Does not keep the process alive. Returns what cancels it. */
  setTimer(delayMs: number, fire: () => void): () => void;
  /** A text that was never given before, anywhere. */
  unique(): string;
  openDatabase(file: string, options?: OpenOptions): Database;
  /** Throws INTERNAL where `reader` or `streams` could not read: said before the first write. */
  assertCanRead(): void;
  reader(options: ReaderOptions): Pick<Reader, 'read' | 'close'>;
  streams(options: StreamsOptions): Pick<RowStreams, 'open' | 'close'>;
  /** Rejects as `stat` does. */
  fileAt(path: string): Promise<FileId>;
  readonly sealing: SealingLimits;
  /**
   * After so long, a group begins no more functions. They run in one piece, in which the process
   * does nothing else: no beat is sent, and no other write, read or acknowledgement gets on.
   */
  readonly longestRunMs: number;
}

/** The process itself. */
export const PROCESS: Surroundings = {
  monotonicMs: () => performance.now(),
  sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  setTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs).unref();
    return () => clearTimeout(timer);
  },
  unique: () => randomUUID(),
  openDatabase,
  assertCanRead: assertPrograms,
  reader: (options) => new Reader(options),
  streams: (options) => new RowStreams(options),
  fileAt: (path) => stat(path, { bigint: true }),
  sealing: { packBytes: 180_000, partBytes: 256 * 1024 },
  longestRunMs: 50,
};
