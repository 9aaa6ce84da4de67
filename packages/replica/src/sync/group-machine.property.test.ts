import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GroupWorld, tapes } from '../testing/group-world.js';
import { Tape } from '../testing/tape.js';

const RUNS = 500;

describe.each([
  ['other programs are refused', false],
  ['other programs write too', true],
])('the group machine, where %s', (_, foreign) => {
  it('I2, I8: settles every write once and truly, whatever the log does, and gets on when it answers', async () => {
    await fc.assert(
      fc.asyncProperty(tapes, async (choices) => {
        expect(await new GroupWorld(new Tape(choices), foreign).run()).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });
});
