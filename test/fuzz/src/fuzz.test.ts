import { describe, expect, it } from 'vitest';
import { MODES, randomScript } from './random-script.js';
import { runScript } from './run.js';
import { describeScript } from './script.js';

/** A share of the seeds, small enough for every run of the tests; `npm run fuzz` runs any. */
const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);

describe.each(MODES)(
  'I4: a database with Antiphon holds what SQLite alone would, and so does a replica (%s)',
  (mode) => {
    it.each(SEEDS)(
      'seed %i',
      async (seed) => {
        const script = randomScript(seed, mode);
        const verdict = await runScript(script);
        if (verdict.type === 'failed')
          expect.fail(`${verdict.kind}: ${verdict.detail}\n${describeScript(script)}`);
      },
      60_000,
    );
  },
);
