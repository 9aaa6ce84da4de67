import { AntiphonError, UnknownOutcomeError } from '@antiphon/core';

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

export function notFounded(creator: string): AntiphonError {
  return new AntiphonError('TIMEOUT', `the rows that ${creator} founded the cluster with have not come yet`);
}

/** `seq`: the entry of the log that holds the group. */
export function notApplied(seq: number, outcomeId: string): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `entry ${seq} of the log was not applied here, see status; ask another replica about ${outcomeId}`,
    outcomeId,
  );
}

export function placeGivenTwice(context: {
  readonly cluster: string;
  readonly replica: string;
  readonly seq: number;
}): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `the log stored a message at ${context.seq}, which it had given away before: ` +
      'it was cut or recreated; find out by whom',
    { context },
  );
}
