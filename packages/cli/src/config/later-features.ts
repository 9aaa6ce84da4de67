import { AntiphonError } from '@antiphon/core';

/**
 * Words of the documented configuration that this version does not have: an own message beats
 * "unknown key".
 */
const LATER: readonly {
  readonly path: readonly string[];
  readonly instead: string;
}[] = [
  { path: ['store', 'postgres'], instead: 'Use `store: { sqlite: { file } }`.' },
  { path: ['store', 'mariadb'], instead: 'Use `store: { sqlite: { file } }`.' },
  { path: ['conflicts'], instead: 'Remove it: the last writer wins.' },
];

/** @throws AntiphonError BAD_OPTION for the first one that the document uses. */
export function refuseLaterFeatures(document: unknown): void {
  for (const { path, instead } of LATER) {
    if (path.reduce<unknown>(member, document) === undefined) continue;
    const name = path.join('.');
    const message = `${name}: \`${name}\` is not in this version. ${instead}`;
    throw new AntiphonError('BAD_OPTION', message, { context: { path: name } });
  }
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
