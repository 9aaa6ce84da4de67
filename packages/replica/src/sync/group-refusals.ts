import { AntiphonError } from '@antiphon/core';

/** What it would read is not what the log says, and its claims would count as if it were. */
export function outOfStep(id: string, why: string | undefined): AntiphonError {
  return new AntiphonError(
    'NOT_IN_SYNC',
    `replica ${id} is out of step and takes no synchronous writes meanwhile: ${(why ?? '').replace(/\.$/, '')}. Write to another one`,
  );
}

export function refusedByAll(cause: AntiphonError): AntiphonError {
  const message = `no replica accepts this write, this one included: ${cause.message}; nothing was written anywhere`;
  return new AntiphonError('LOG_REFUSED', message, { cause, context: cause.context });
}
