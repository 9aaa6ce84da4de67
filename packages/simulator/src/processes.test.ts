import { describe, expect, it } from 'vitest';
import { inProcesses } from './processes.js';

/** Prints what it was given. */
const ECHO = ['-e', 'console.log(process.argv.at(-1)); process.exit(Number(process.argv[1]))'];

describe('seeds in several processes', () => {
  it('are all run, some at a time', async () => {
    const lines: string[] = [];
    const onLine = (line: string): boolean => lines.push(line) > 0;
    await inProcesses({
      ...{ first: 3, last: 25, processes: 2 },
      ...{ command: [...ECHO, '1'], onLine, isOver: () => false },
    });
    expect(lines.sort()).toEqual(['13-22', '23-25', '3-12']);
  });

  it('end when that is enough, and when a process could not do its work', async () => {
    const lines: string[] = [];
    const onLine = (line: string): boolean => lines.push(line) > 0;
    const job = { first: 1, last: 1000, processes: 1, onLine };
    await inProcesses({ ...job, command: [...ECHO, '0'], isOver: () => lines.length > 0 });
    expect(lines).toEqual(['1-10']);
    const failing = inProcesses({ ...job, command: [...ECHO, '2'], isOver: () => false });
    await expect(failing).rejects.toThrow(/has ended with 2/);
    const cutShort = inProcesses({
      ...{ ...job, onLine: () => false },
      ...{ command: [...ECHO, '1'], isOver: () => false },
    });
    await expect(cutShort).rejects.toThrow(/has ended with 1/);
  });
});
