import { AntiphonError } from '@antiphon/core';
import { expect, it } from 'vitest';
import { inWordsOfTheCommand } from './query.js';

it.each([
  ['NOT_WRITABLE', 'A query only reads. Write through a transaction.', 'Write with `antiphon exec`.'],
  ['TIMEOUT', 'Make it do less (an index, a LIMIT), or raise `timeoutMs`.', 'or raise --timeout.'],
  ['BAD_SQL', 'It has more rows. Add LIMIT, or raise `maxRows`.', 'or raise --limit (at most 10000).'],
] as const)('%s: what a library would do is said as the command does it', (code, message, said) => {
  const error = inWordsOfTheCommand(new AntiphonError(code, message, { context: { replica: 'a' } }));
  expect(error).toMatchObject({
    message: expect.stringContaining(said) as string,
    context: { replica: 'a' },
  });
});

it('leaves every other error as it is', () => {
  const other = new AntiphonError('NO_ACTOR', 'Nobody listens.');
  expect(inWordsOfTheCommand(other)).toBe(other);
});
