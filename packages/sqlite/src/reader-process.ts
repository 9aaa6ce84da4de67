import { toAntiphonError } from '@antiphon/core';
import { AnswerPipe } from './answer-pipe.js';
import { storeError } from './errors.js';
import { endWithParent } from './parent-watch.js';
import { ReadWork } from './read-work.js';
import type { ReadMessage, ReadReply } from './reader-protocol.js';

/** Answers are written together, but for those that are there for longer. */
const HELD_MS = 1;

/**
 * The program of a reading process: `node reader-process.js FILE PARENT_PID`, with an IPC channel
 * for what is to be read, and a pipe for the answers. It reads one after the other. SQLite cannot
 * be interrupted from outside, so whoever waits no longer kills the process (docs/decisions/0035).
 */
function main(file: string, parentPid: number): void {
  const answers = new AnswerPipe();
  endWithParent(parentPid, answers.memory);
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
  // From now on, what it is asked for is what takes its time.
  process.send?.('up');
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
