import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';

/** Something that takes options. */
export interface TakesOptions {
  /** One of its options. */
  readonly option: string;
  /** Options without which it would not look any further. */
  readonly given?: object;
  /** Calls it; throws, or rejects. */
  call(options: never): unknown;
}

/**
 * A name that is misspelt must never be ignored: less would be done than was asked for. The keys of
 * `cases` are the types of the options, with a word about the function where several take the same
 * ones; infra/public-names.test.mjs finds those that are missing.
 */
export function describeTypos(cases: Readonly<Record<string, TakesOptions>>): void {
  describe('an option with a typo is refused', () => {
    it.each(Object.entries(cases))('%s', async (_, { option, given, call }) => {
      const typo = misspelt(option);
      const error = await thrownBy(() => call({ ...given, [typo]: 1 } as never));
      expect(error).toBeInstanceOf(AntiphonError);
      expect(error).toMatchObject({ code: 'BAD_OPTION' });
      const { message } = error as AntiphonError;
      expect(message).toContain(typo);
      expect(message).toContain(`"${option}"`);
    });
  });
}

/** With its second and third letters the other way round, or one letter too many. */
function misspelt(name: string): string {
  const [first = '', second = '', third = ''] = name;
  return second === third ? `${name}x` : `${first}${third}${second}${name.slice(3)}`;
}

async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}
