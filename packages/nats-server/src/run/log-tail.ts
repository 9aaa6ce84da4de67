import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const TAIL_BYTES = 8 * 1024;
/** Empty lines and JetStream's name in large letters. */
const DECORATION = /(?:^|\[INF\])[\s_|\\/<>.-]*(?:[_|\\/]{2,}.*)?$/;

/**
 * The last lines that say something and were written to a log file after an offset; empty when
 * there are none.
 */
export function tailOfLog(file: string, fromOffset: number, maxLines: number): readonly string[] {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const { size } = fstatSync(descriptor);
    // A log that became shorter was rotated: all of it is new.
    const start = Math.max(size < fromOffset ? 0 : fromOffset, size - TAIL_BYTES);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    const read = readSync(descriptor, buffer, 0, buffer.length, start);
    const lines = buffer.toString('utf8', 0, read).split('\n');
    return lines.filter((line) => !DECORATION.test(line)).slice(-maxLines);
  } catch {
    return [];
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
