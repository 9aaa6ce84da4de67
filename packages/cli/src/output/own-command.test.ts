import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ownCommand } from './own-command.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-own-command-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function command(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'antiphon'), '');
  chmodSync(join(folder, 'antiphon'), 0o755);
}

it('is called as whoever started us says, else as it is installed', () => {
  expect(ownCommand(dir, { PATH: dir })).toMatch(/^node .*bin\.js$/);
  command(join(dir, 'bin'));
  const PATH = join(dir, 'bin');
  expect(ownCommand(dir, { PATH })).toBe('antiphon');
  command(join(dir, 'node_modules', '.bin'));
  expect(ownCommand(dir, { PATH })).toBe('npx antiphon');
  expect(ownCommand(dir, { PATH, ANTIPHON_COMMAND: 'npm run -s antiphon --' })).toBe(
    'npm run -s antiphon --',
  );
});
