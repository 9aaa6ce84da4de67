import { workerData } from 'node:worker_threads';
import { AnswerPipe } from './answer-pipe.js';

export interface ReaderWatch {
  readonly parentPid: number;
  /** Of the answers that the main thread holds. */
  readonly memory: SharedArrayBuffer;
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
  const answers = new AnswerPipe(memory);
  try {
    for (let lookMs = performance.now(); ;) {
      if (performance.now() >= lookMs) {
        if (!hasParent()) break;
        lookMs = performance.now() + INTERVAL_MS;
      }
      answers.watch(INTERVAL_MS, HELD_MS);
    }
  } catch {
    // Nobody reads the pipe any more.
  }
  process.kill(process.pid, 'SIGKILL');
}

watch();
