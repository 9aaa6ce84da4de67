import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antiphon, temporaryFolder } from './antiphon.js';

const BIN = fileURLToPath(new URL('../../dist/bin.js', import.meta.url));
const folder = temporaryFolder();
const cwd = folder.path;
beforeAll(() => {
  mkdirSync(join(cwd, 'folder'));
  writeFileSync(join(cwd, 'text'), 'x');
  const db = new DatabaseSync(join(cwd, 'shop.db'));
  db.exec('CREATE TABLE t (id TEXT PRIMARY KEY)');
  db.close();
});
afterAll(() => folder.remove());

it.each([
  [['init', '-o', 'folder'], /folder is a folder\. Choose a file in it/],
  [['init', '-o', 'folder', '--force'], /folder is a folder\. Choose a file in it/],
  [['init', '-o', 'text/x.yaml'], /text.* cannot be used: .*(is a file, not a folder|a file of that name)/],
  [['status', '--config', 'none.yaml'], /none.yaml does not exist/],
  [['status', '--config', 'folder'], /folder cannot be read \(EISDIR\)/],
  [['check', 'none.db'], /there is no such file\. Name a SQLite database\./],
  [['check', 'folder'], /is not a file\. Name a SQLite database\./],
  [['up', '--file', 'none/x.db'], /The folder .*none does not exist\. Create it/],
  [['up', '--file', 'shop.db', '--dir', 'text'], /text.*Make it writable/],
  [['demo', '--dir', 'text'], /text cannot be used: .*\. (Name|Correct)/],
])('%j says which path is wrong, and what to do', async (args, expected) => {
  const { code, stderr } = await antiphon(args, { cwd });
  expect(stderr).toMatch(expected);
  expect(stderr).not.toMatch(/INTERNAL|\n +at /);
  expect(code).toBeGreaterThan(0);
});

it.runIf(process.platform === 'linux')('fails, and says so, when nobody takes its output', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [BIN, 'check', 'shop.db'], {
    cwd,
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  closeSync(full);
  expect(stderr).toBe(
    'error: The output cannot be used: the disk is full (ENOSPC). Free disk space there, or name another place.\n',
  );
  expect(status).toBe(1);
});
