import { Worker } from 'node:worker_threads';
import { toAntiphonError } from '@antiphon/core';
import { AnswerPipe } from './answer-pipe.js';
import { storeError } from './errors.js';
import { ReadWork } from './read-work.js';
import type { ReadMessage, ReadReply } from './reader-protocol.js';
import type { ReaderWatch } from './reader-watchdog.js';

/** Answers are written together, but for those that are there for longer. */
const HELD_MS = 1;

/**
 * The program of a reading process: `node reader-process.js FILE PARENT_PID`, with an IPC channel
 * for what is to be read, and a pipe for the answers. It reads one after the other. SQLite cannot
 * be interrupted from outside, so whoever waits no longer kills the process (docs/decisions/0035).
 */
function main(file: string, parentPid: number): void {
  // A Ctrl-C in a terminal is meant for the parent, which may have to read once more before it
  // ends.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => undefined);
  process.on('disconnect', () => process.exit());
  // In the middle of a read nothing is heard or sent here: another thread looks whether the parent
  // is gone, and sends the answers that are there.
  const answers = new AnswerPipe();
  const watch: ReaderWatch = { parentPid, memory: answers.memory };
  new Worker(new URL('./reader-watchdog.js', import.meta.url), {
    workerData: watch,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
  }).unref();
  const work = new ReadWork(file);
  process.on('message', (messages: readonly ReadMessage[]) => {
    let flushedMs = performance.now();
    for (const [index, message] of messages.entries()) {
      answers.add(answer(work, message, index > 0));
      if (performance.now() - flushedMs < HELD_MS) continue;
      answers.flush();
      flushedMs = performance.now();
    }
    answers.flush();
  });
}

function answer(work: ReadWork, { id, request }: ReadMessage, isKnownFile: boolean): ReadReply {
  const startedMs = performance.now();
  const tookMs = (): number => performance.now() - startedMs;
  try {
    const result = work.run(request, isKnownFile);
    return { id, ok: true, result, tookMs: tookMs() };
  } catch (thrown) {
    const { code, message, context } = toAntiphonError(storeError(thrown, 'Reading failed'));
    return { id, ok: false, code, message, context: { ...context }, tookMs: tookMs() };
  }
}

const [file, parentPid] = process.argv.slice(2);
if (file === undefined || parentPid === undefined || process.send === undefined)
  throw new TypeError('This program is started by the SQLite store, with the file and a channel.');
main(file, Number(parentPid));
