import { ERROR_CODES, type AntiphonError } from '@antiphon/core';
import { toJson } from './json.js';
import { styled } from './style.js';
import type { Terminal } from './terminal.js';

/** The one place where an error becomes text: JSON on stderr with --json, else a sentence and what to do. */
export function reportError(terminal: Terminal, error: AntiphonError): void {
  if (terminal.json) {
    const { code, message, retriable, context } = error;
    terminal.err(`${toJson({ error: { code, message, retriable, context } })}\n`);
    return;
  }
  terminal.err(`${styled(terminal, 'red', 'error')}: ${error.message} [${error.code}]\n`);
  const { do: advice } = ERROR_CODES[error.code];
  if (error.code !== 'BAD_OPTION' && error.code !== 'REMOTE')
    terminal.err(`${styled(terminal, 'dim', advice)}\n`);
  if (error.code === 'INTERNAL' && error.stack !== undefined) terminal.err(`${error.stack}\n`);
}
