import { ERROR_CODES, type AntiphonError, type ErrorCode } from '@antiphon/core';
import { toJson } from './json.js';
import { styled } from './style.js';
import type { Terminal } from './terminal.js';

/** Their messages end with what to do, exactly. */
const SAYS_IT_ALL: readonly ErrorCode[] = [
  'BAD_OPTION',
  'ACCESS_DENIED',
  'REMOTE',
  'CONFLICT',
  'NOT_IN_SYNC',
  'OUTCOME_UNKNOWN',
];

/** A sentence of the message, after its first, that says what to do, or what was meant. */
const ORDER =
  /[.)] (Add|Ask|Call|Change|Check|Choose|Correct|Create|Did you mean|End|Find|Follow|Free|Give|Install|Name|Put|Raise|Read|Remove|Restore|Run|Say|See|Set|Start|Stop|Try|Upgrade|Use|Wait|Write)\b/;

/**
 * The one place where an error becomes text: JSON on stderr with --json, else a sentence and what
 * to do.
 */
export function reportError(terminal: Terminal, error: AntiphonError): void {
  if (terminal.json) {
    const { code, message, retriable, context } = error;
    terminal.err(`${toJson({ error: { code, message, retriable, context } })}\n`);
    return;
  }
  terminal.err(`${styled(terminal, 'red', 'error')}: ${error.message} [${error.code}]\n`);
  const { do: advice } = ERROR_CODES[error.code];
  const isSaid =
    SAYS_IT_ALL.includes(error.code) || error.message.includes(advice) || ORDER.test(error.message);
  if (!isSaid) terminal.err(`${styled(terminal, 'dim', advice)}\n`);
  if (error.code === 'INTERNAL' && error.stack !== undefined) terminal.err(`${error.stack}\n`);
}
