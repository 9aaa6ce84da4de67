import { AntiphonError, toAntiphonError, type ErrorCode, sentence, withoutStop } from '@antiphon/core';
import { IS_UNCLEAR, isOutcomeId } from '@antiphon/replica/internal';

/**
 * Of these, only the replica itself knows whether it wrote: no answer came, and that is no verdict.
 */
const UNANSWERED: readonly ErrorCode[] = ['TIMEOUT', 'ABORTED', 'LOG_UNAVAILABLE', 'MALFORMED_MESSAGE'];

/**
 * What a failed write means to whoever sent it (I8): `command` is how this user starts the command.
 * An answer that did not come is an unknown outcome too, and one that nobody can ask about: its
 * transaction has no name here.
 */
export function explainWriteError(thrown: unknown, replica: string, command: string): AntiphonError {
  const error = toAntiphonError(thrown);
  const { code, context, retriable } = error;
  const options = { cause: error, retriable, context: { ...context, replica } };
  if (code === 'CONFLICT') {
    const message = `${sentence(error.message)} Nothing was written. Run the same command again.`;
    return new AntiphonError(code, message, options);
  }
  if (code === 'OUTCOME_UNKNOWN') {
    const id = String(context['id'] ?? '');
    const message = `${whatIsUnclear(error)} To find out, run \`${command} outcome '${id}'\`.${again(id)}`;
    return new AntiphonError(code, message, options);
  }
  if (!isUnanswered(error)) return error;
  const wayOut = `See with \`${command} query\` whether it is there before you run it again.`;
  const message = `${replica} did not answer (${whatHappened(error)}), and may or may not have committed the write. ${wayOut}`;
  return new AntiphonError('OUTCOME_UNKNOWN', message, { cause: error, context: { replica } });
}

/** Without what a program does then. */
function whatIsUnclear({ message }: AntiphonError): string {
  const at = message.indexOf(IS_UNCLEAR);
  if (at >= 0) return message.slice(0, at + IS_UNCLEAR.length);
  return `${sentence(message)} It may be committed.`;
}

/** Of a request: it is written once, however often it is run. */
function again(id: string): string {
  if (id === '' || isOutcomeId(id)) return '';
  return ` To try again, run the same command with \`--request-id '${id}'\`: what is committed is not written again.`;
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
