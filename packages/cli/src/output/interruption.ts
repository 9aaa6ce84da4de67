import { AntiphonError } from '@antiphon/core';
import { toJson } from './json.js';
import type { Terminal } from './terminal.js';

/** Whoever is asked for these does them, also when nobody waits for the answer any more. */
const CHANGING = new Set([
  ...['recapture', 'member', 'failover', 'switchover', 'drain', 'resume', 'rescue', 'settings'],
  ...['quarantine', 'conflicts', 'subscriptions'],
]);

/** It ended because its caller did not want to wait any longer. */
export function isGivenUp(thrown: unknown): boolean {
  if (thrown instanceof AntiphonError) return thrown.code === 'ABORTED';
  return thrown instanceof Error && thrown.name === 'AbortError';
}

/** For whoever pressed Ctrl-C, which is no error. `command`: `antiphon member remove`. */
export function reportInterruption(terminal: Terminal, command: string, thrown: unknown): void {
  const message = wordsOfCommand(thrown) ?? wordsFor(command);
  if (!terminal.json) return terminal.err(`${message}\n`);
  const { code, retriable, context } = new AntiphonError('ABORTED', message);
  terminal.err(`${toJson({ error: { code, message, retriable, context } })}\n`);
}

/** Of some, a command itself says what may have become of it. */
function wordsOfCommand(thrown: unknown): string | undefined {
  if (!(thrown instanceof AntiphonError) || thrown.message.endsWith(' was given up.')) return undefined;
  return thrown.message;
}

function wordsFor(command: string): string {
  const [, first = ''] = command.split(' ');
  const doubt = CHANGING.has(first) ? ' What it asked for may still be done. See `antiphon status`.' : '';
  return `\`${command}\` was interrupted before the answer came.${doubt}`;
}
