import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('examples/shop: two services lose the primary, and no order is lost or written twice', async () => {
  const args = ['--disable-warning=ExperimentalWarning', 'examples/shop/src/start.ts', '--once'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/The next order was taken \d+ ms later\.\n/);
  expect(stdout).toMatch(/\nAll 50 orders are there, once\.\n$/);
});
