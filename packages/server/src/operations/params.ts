import { AntiphonError, isRecord, type Parameter, TaggedValue } from '@antiphon/core';
import type { Params } from '@antiphon/replica';

/** Makes a value of the database of what a client gave. Throws BAD_OPTION, with the place. */
export type ValueOf = (input: unknown, place: string) => Parameter;

/** As many as a statement of SQLite may have. */
const MOST_PARAMS = 32_766;
/** Of a name that a request brought. */
const MAX_SHOWN = 100;

/** Throws BAD_OPTION. */
export function toParams(input: unknown, place: string, valueOf: ValueOf): Params {
  if (Array.isArray(input) && input.length > MOST_PARAMS) throw tooMany(input.length, place);
  if (Array.isArray(input)) return input.map((item: unknown, index) => valueOf(item, `${place}[${index}]`));
  if (input === undefined) return [];
  if (!isRecord(input) || input instanceof TaggedValue)
    throw new AntiphonError('BAD_OPTION', `\`${place}\` is not valid. Give a list, or an object of names.`);
  const entries = Object.entries(input).map(
    ([name, item]) => [name, valueOf(item, `${place}.${name.slice(0, MAX_SHOWN)}`)] as const,
  );
  return Object.fromEntries(entries);
}

function tooMany(count: number, place: string): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `\`${place}\` has ${count} values. A statement takes ${MOST_PARAMS} at most.`,
  );
}
