import { AntiphonError, UnknownOutcomeError, sentence } from '@antiphon/core';

/** What it would read is not what the log says, and its claims would count as if it were. */
export function outOfSync(id: string, why: string | undefined): AntiphonError {
  return new AntiphonError(
    'NOT_IN_SYNC',
    `Replica ${id} is out of sync and takes no synchronous writes: ${sentence(why ?? '')} Write to another one.`,
  );
}

export function refusedByAll(cause: AntiphonError): AntiphonError {
  const message = `No replica accepts this write, not even this one. ${sentence(cause.message)} Nothing was written anywhere.`;
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
    'NATS does not answer, and a synchronous write goes through its log. Start nats-server, or wait for it.',
  );
}

export function notCreated(creator: string): AntiphonError {
  return new AntiphonError(
    'TIMEOUT',
    `The rows that ${creator} created the cluster with have not arrived yet.`,
  );
}

/** `seq`: the entry of the log that holds the group. */
export function notApplied(seq: number, outcomeId: string): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `Entry ${seq} of the log was not applied here. \`antiphon status\` says why. Ask another replica about ${outcomeId}.`,
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
    `The log stored a message under ${context.seq}, a sequence number already in use: ` +
      'the stream was truncated or recreated. Find out who did it, and follow docs/lost-log.md.',
    { context },
  );
}
