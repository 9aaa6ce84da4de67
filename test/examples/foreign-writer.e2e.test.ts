import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { runExample, shownBy } from './run-example.js';

const without = (command: string, ...args: readonly string[]): boolean =>
  spawnSync(command, args).status !== 0;
const noPython = without('python3', '--version');
const noShell = without('sqlite3', '--version');

describe('examples/foreign-writer', () => {
  it.skipIf(noPython)(
    `a program in Python writes on while the replica is dead${noPython ? ' (no python3)' : ''}`,
    async () => {
      expect(await runExample('foreign-writer')).toBe(shownBy('foreign-writer'));
    },
  );

  it.skipIf(noShell)(`the sqlite3 shell likewise${noShell ? ' (no sqlite3)' : ''}`, async () => {
    const shown = shownBy('foreign-writer').replace('python3 writes', 'sh writes');
    expect(await runExample('foreign-writer', ['--writer', 'sh'])).toBe(shown);
  });
});
