import { AntiphonError } from '@antiphon/core';

const WAITS_FOR = 'counters';

/**
 * Nothing that is to be numbered may be sealed now, nor anything applied, which seals first. Over
 * in a moment.
 */
export function uncertainCounters(): AntiphonError {
  return new AntiphonError(
    'STORE_BUSY',
    'A synchronous write without an answer is looked for in the log. Writes of other programs wait until it is found.',
    { context: { waitsFor: WAITS_FOR } },
  );
}

/** It is none of the database's troubles. */
export function isUncertainCounters({ context }: AntiphonError): boolean {
  return context['waitsFor'] === WAITS_FOR;
}
