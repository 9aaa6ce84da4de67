import type { AntiphonError } from '@antiphon/core';

/**
 * `answer`: of the one that was asked, which the caller gets as it is. `nothing`: this attempt has
 * written nothing, and another one may. `unclear`: it may have.
 */
export type Certainty = 'answer' | 'nothing' | 'unclear';

const NO_ANSWER: ReadonlySet<string> = new Set([
  'TIMEOUT',
  'LOG_UNAVAILABLE',
  'ABORTED',
  'MALFORMED_MESSAGE',
]);

/** What the error of a question says about the write that was asked for. */
export function certaintyOf({ code, context }: AntiphonError): Certainty {
  if (code === 'OUTCOME_UNKNOWN' || context['started'] === true) return 'unclear';
  if (code === 'NOT_WRITABLE' || code === 'CLOSED' || code === 'ACTOR_STOPPED') return 'nothing';
  if (code === 'NO_ACTOR' || context['started'] === false) return 'nothing';
  // Not what the primary says, but what became of the question.
  return context['remoteCode'] === undefined && NO_ANSWER.has(code) ? 'unclear' : 'answer';
}
