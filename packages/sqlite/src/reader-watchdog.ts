import { workerData } from 'node:worker_threads';

export interface ParentWatch {
  readonly parentPid: number;
}

const INTERVAL_MS = 500;
const { parentPid } = workerData as ParentWatch;

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

setInterval(() => {
  if (!hasParent()) process.kill(process.pid, 'SIGKILL');
}, INTERVAL_MS);
