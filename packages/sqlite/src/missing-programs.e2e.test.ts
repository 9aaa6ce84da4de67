import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const SCRIPT = `
  import { sqlite } from './dist/index.js';
  const store = sqlite({ file: 'shop.db' });
  const { code, message } = await store.inspect().then(() => ({ code: 'none' }), (error) => error);
  await store.close();
  console.log(code, message);
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-programs-'));
  for (const part of ['package.json', 'dist'])
    cpSync(join(PACKAGE, part), join(folder, part), { recursive: true });
  symlinkSync(join(PACKAGE, '../../node_modules'), join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As a service with this package starts. */
function started(): string {
  const args = ['--input-type=module', '--eval', SCRIPT];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    ...{ cwd: folder, encoding: 'utf8', timeout: 60_000 },
  });
  return stdout + stderr;
}

it('a store whose reading programs were left out says so when it starts, and makes no file', () => {
  expect(started()).toBe('none undefined\n');
  rmSync(join(folder, 'shop.db'));
  for (const name of ['stream-process.js', 'reader-process.js']) {
    rmSync(join(folder, 'dist', name));
    expect(started()).toMatch(
      /^INTERNAL The reader of @antiphon\/sqlite is missing\. .*a bundler has to leave/,
    );
    expect(existsSync(join(folder, 'shop.db'))).toBe(false);
  }
});
