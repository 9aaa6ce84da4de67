import { AntiphonError, toAntiphonError, type ErrorCode, sentence, withoutStop } from '@antiphon/core';

/**
 * Of these, only the replica itself knows whether it wrote: no answer came, and that is no verdict.
 */
const UNANSWERED: readonly ErrorCode[] = ['TIMEOUT', 'ABORTED', 'LOG_UNAVAILABLE', 'MALFORMED_MESSAGE'];

/**
 * What a failed write means to whoever sent it (I8): `command` is how this user starts the command.
 * An answer that did not come is an unknown outcome too, and one that nobody can ask about: its
 * transaction has no name here.
 */
export function explainWriteError(
  thrown: unknown,
  replica: string,
  command: string,
  requestId?: string,
): AntiphonError {
  const error = toAntiphonError(thrown);
  const { code, context, retriable } = error;
  const options = { cause: error, retriable, context: { ...context, replica } };
  if (code === 'CONFLICT') {
    const message = `${sentence(error.message)} Nothing was written. Run the same command again.`;
    return new AntiphonError(code, message, options);
  }
  if (code === 'OUTCOME_UNKNOWN') {
    const id = String(context['id'] ?? '');
    const message = `${sentence(error.message)} It may be committed. To find out, run \`${command} outcome '${id}'\`.`;
    return new AntiphonError(code, message, options);
  }
  if (!isUnanswered(error)) return error;
  const wayOut =
    requestId === undefined
      ? `See with \`${command} query\` whether it is there before you run it again.`
      : `Run it again with \`--request-id ${requestId}\`: what is committed is not written again.`;
  const message = `${replica} did not answer (${whatHappened(error)}), and may or may not have committed the write. ${wayOut}`;
  const asked = { replica, ...(requestId !== undefined && { id: requestId }) };
  return new AntiphonError('OUTCOME_UNKNOWN', message, { cause: error, context: asked });
}

/** Without what to do then: to call again is right for who reads, and may write twice here. */
function whatHappened({ message }: AntiphonError): string {
  return withoutStop(message.replace(/\. [A-Z].*$/s, ''));
}

function isUnanswered({ code, context }: AntiphonError): boolean {
  // Replicas say their code in every error they answer with. One that stops meanwhile says whether
  // it had begun.
  if (context['remoteCode'] !== undefined) return code === 'ACTOR_STOPPED' && context['started'] !== false;
  return UNANSWERED.includes(code);
}
