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

/** A later try may go better. */
export function asRetriable(error: AntiphonError): AntiphonError {
  const { code, message, context } = error;
  return new AntiphonError(code, message, { cause: error, context, retriable: true });
}

export function unavailable(): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    'NATS does not answer, and a synchronous write goes through its log: start nats-server, or wait for it',
  );
}
