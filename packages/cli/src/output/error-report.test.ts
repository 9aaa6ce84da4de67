import { AntiphonError, type ErrorCode } from '@antiphon/core';
import { expect, it } from 'vitest';
import { reportError } from './error-report.js';
import type { Terminal } from './terminal.js';

function reported(code: ErrorCode, message: string): string {
  let text = '';
  const terminal = { json: false, color: false, err: (part: string) => void (text += part) };
  reportError(terminal as unknown as Terminal, new AntiphonError(code, message));
  return text;
}

it.each([
  ['MEMBER_RUNNING', 'Replica a of cluster shop is running. Stop it first, or remove it with --force.'],
  ['NO_ACTOR', 'Nobody listens on a subject. Start that replica, or check its id.'],
  ['LOG_UNAVAILABLE', 'NATS does not answer (refused). Start nats-server, or wait for it.'],
  ['NO_ACTOR', 'There is no replica "eu-9" in cluster shop. Did you mean "eu-1"?'],
  ['NOT_WRITABLE', 'Replica eu-2 takes no writes. Write to the primary, eu-1.'],
  ['STORE_FAILED', 'It is not a SQLite database. Name another file.'],
] as const)('says what to do once: %s', (code, message) => {
  expect(reported(code, message)).toBe(`error: ${message} [${code}]\n`);
});

it('says what to do when the message does not', () => {
  expect(reported('NO_ACTOR', 'eu-1 has not answered. It did before.')).toMatch(
    /\[NO_ACTOR\]\nStart the replica/,
  );
});
