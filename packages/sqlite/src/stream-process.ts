import { toAntiphonError } from '@antiphon/core';
import { storeError } from './errors.js';
import { endWithParent } from './parent-watch.js';
import type { StreamOrder, StreamReply } from './stream-protocol.js';
import { StreamWork } from './stream-work.js';

/**
 * The program of a streaming process: `node stream-process.js FILE PARENT_PID`, with an IPC
 * channel. It reads one statement, a piece each time it is told to, and is killed when nobody wants
 * more.
 */
function main(file: string, parentPid: number): void {
  endWithParent(parentPid);
  let work: StreamWork | undefined;
  const answer = (order: StreamOrder): StreamReply => {
    if (order.type === 'next') return { type: 'rows', rows: work?.next() ?? [] };
    work = new StreamWork(file, order.request);
    return { type: 'opened', columns: work.columns };
  };
  process.on('message', (order: StreamOrder) => {
    try {
      process.send?.(answer(order));
    } catch (thrown) {
      const { code, message, context } = toAntiphonError(storeError(thrown, 'Reading failed'));
      process.send?.({ type: 'failed', code, message, context: { ...context } } satisfies StreamReply);
    }
  });
}

const [file, parentPid] = process.argv.slice(2);
if (file === undefined || parentPid === undefined || process.send === undefined)
  throw new TypeError('This program is started by the SQLite store, with the file and a channel.');
main(file, Number(parentPid));
