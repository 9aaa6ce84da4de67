import { AntiphonError } from '@antiphon/core';

/** Words of the documented configuration that this version does not have: an own message beats "unknown key". */
const LATER: readonly {
  readonly path: readonly string[];
  readonly value?: string;
  readonly instead: string;
}[] = [
  { path: ['update', 'mode'], value: 'sync', instead: 'Use `update: { mode: async }`.' },
  { path: ['store', 'postgres'], instead: 'Use `store: { sqlite: { file } }`.' },
  { path: ['store', 'mariadb'], instead: 'Use `store: { sqlite: { file } }`.' },
  {
    path: ['http'],
    instead: 'Remove it; the replica answers over NATS (`antiphon exec`, `query`, `status`).',
  },
  { path: ['conflicts'], instead: 'Remove it; the last writer wins.' },
];

/** @throws AntiphonError BAD_OPTION for the first one that the document uses. */
export function refuseLaterFeatures(document: unknown): void {
  for (const { path, value, instead } of LATER) {
    const found = path.reduce<unknown>(member, document);
    if (found === undefined || (value !== undefined && found !== value)) continue;
    const name = path.join('.');
    const feature = value === undefined ? `\`${name}\`` : `\`${name}: ${value}\``;
    const message = `${name}: ${feature} is not in this version. ${instead}`;
    throw new AntiphonError('BAD_OPTION', message, { context: { path: name } });
  }
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
