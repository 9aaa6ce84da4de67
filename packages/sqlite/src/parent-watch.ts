import { Worker } from 'node:worker_threads';
import { environmentOfHelpers } from './helper-environment.js';
import type { ReaderWatch } from './reader-watchdog.js';

/**
 * Ends this process with its parent, and not before: a Ctrl-C is meant for the parent. `memory`: of
 * answers that are held, see `AnswerPipe`.
 */
export function endWithParent(parentPid: number, memory?: SharedArrayBuffer): void {
  // In a terminal both get it. The parent may have to read once more before it ends.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => undefined);
  process.on('disconnect', () => process.exit());
  // In the middle of a read nothing is heard or sent here: another thread looks whether the parent
  // is gone, and sends the answers that are there.
  const watch: ReaderWatch = { parentPid, ...(memory && { memory }) };
  new Worker(new URL('./reader-watchdog.js', import.meta.url), {
    workerData: watch,
    ...{ execArgv: [], env: environmentOfHelpers() },
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
  }).unref();
}
