import { AntiphonError } from '../errors/antiphon-error.js';
import { shownOption } from '../options/check-options.js';
import type { Value } from './value.js';

/**
 * How 64-bit integers come out. `bigint`: exactly, always. `number`: as JSON and most code have
 * them; one that a number cannot hold exactly is an error, never rounded.
 */
export type Integers = 'bigint' | 'number';

/** Throws BAD_OPTION. */
export function assertIntegers(integers: unknown): asserts integers is Integers {
  if (integers === 'bigint' || integers === 'number') return;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`integers\` is ${shownOption(integers)}. Give 'bigint' or 'number'.`,
  );
}

/** Throws BAD_OPTION, which names the column. */
export function withIntegers(value: Value, integers: Integers, column: string): Value {
  if (integers === 'bigint' || typeof value !== 'bigint') return value;
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new AntiphonError(
    'BAD_OPTION',
    `Column ${column} holds ${value}, which no JavaScript number holds exactly. Read it with integers: 'bigint'.`,
  );
}
