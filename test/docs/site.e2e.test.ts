import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT, run } from '../packages/packed.js';

/** A minute on a quiet machine. */
const LIMIT_MS = 600_000;

it(
  '`npm run docs` builds the site, and each of its links leads somewhere',
  { timeout: LIMIT_MS },
  async () => {
    const { code, output } = await run(ROOT, process.execPath, [
      join(ROOT, 'infra', 'site', 'main.mjs'),
      'build',
    ]);
    expect(output).toMatch(/^The site is in .*site\./m);
    expect(code).toBe(0);
  },
);
