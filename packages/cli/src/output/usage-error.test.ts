import { CommanderError } from 'commander';
import { expect, it } from 'vitest';
import { createProgram } from '../program.js';
import { usageError } from './usage-error.js';

async function messageOf(...argv: readonly string[]): Promise<string> {
  const program = createProgram({
    context: () => {
      throw new Error('no command runs here');
    },
    finished: () => undefined,
  });
  const error: unknown = await program.parseAsync(argv, { from: 'user' }).catch((thrown: unknown) => thrown);
  if (!(error instanceof CommanderError)) throw new Error(`${argv.join(' ')} was taken`);
  return usageError(error, argv, program).message;
}

it.each([
  [['stauts'], 'unknown command \'stauts\'. Did you mean "status"? See `antiphon --help`.'],
  [['look'], "unknown command 'look'. See `antiphon --help`."],
  [['member', 'remov'], 'unknown command \'remov\'. Did you mean "remove"? See `antiphon member --help`.'],
  [
    ['status', '--wacth'],
    'unknown option \'--wacth\'. Did you mean "--watch"? See `antiphon status --help`.',
  ],
  [
    ['status', '--clutser=a'],
    'unknown option \'--clutser=a\'. Did you mean "--cluster"? See `antiphon status --help`.',
  ],
  [
    ['status', '--match'],
    'unknown option \'--match\'. Did you mean "--watch"? See `antiphon status --help`.',
  ],
  [['status', '--lasting'], "unknown option '--lasting'. See `antiphon status --help`."],
  [['member'], 'Name a command. `antiphon member --help` lists them.'],
])('%j is no command line, and what it says is close', async (argv, message) => {
  expect(await messageOf(...argv)).toBe(message);
});
