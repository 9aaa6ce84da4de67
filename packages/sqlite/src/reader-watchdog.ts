import { workerData } from 'node:worker_threads';
import { AnswerPipe } from './answer-pipe.js';

export interface ReaderWatch {
  readonly parentPid: number;
  /** Of the answers that the main thread holds; absent where it holds none. */
  readonly memory?: SharedArrayBuffer;
}

const INTERVAL_MS = 500;
/** Answers that are held for longer are held by a read that takes long. */
const HELD_MS = 5;
const { parentPid, memory } = workerData as ReaderWatch;

/**
 * An orphan is given to another parent at once; on Windows it keeps the number of one that is gone.
 */
function hasParent(): boolean {
  if (process.ppid !== parentPid) return false;
  try {
    process.kill(parentPid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function watch(): void {
  const answers = memory && new AnswerPipe(memory);
  const nothing = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  try {
    for (let lookMs = performance.now(); ;) {
      if (performance.now() >= lookMs) {
        if (!hasParent()) break;
        lookMs = performance.now() + INTERVAL_MS;
      }
      if (answers === undefined) Atomics.wait(nothing, 0, 0, INTERVAL_MS);
      else answers.watch(INTERVAL_MS, HELD_MS);
    }
  } catch {
    // Nobody reads the pipe any more.
  }
  process.kill(process.pid, 'SIGKILL');
}

watch();
