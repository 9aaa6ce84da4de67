import { AntiphonError } from '@antiphon/core';

/** What only a synchronous cluster can promise. */
export function needsSync(what: string, context: Readonly<Record<string, unknown>> = {}): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `${what} needs a cluster with \`update: { mode: sync }\`. This one completes a write on one database and propagates it later.`,
    { context },
  );
}
