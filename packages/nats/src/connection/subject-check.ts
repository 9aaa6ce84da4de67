import { AntiphonError } from '@antiphon/core';

/** Servers cut the protocol line at 4 KiB; no subject of ours comes near. */
const MAX_SUBJECT_LENGTH = 512;
/**
 * One token: printable, and none of NATS's own signs. A line break would be a second protocol
 * command.
 */
const TOKEN = /^[^\s.*>\u0000-\u001f\u007f]+$/u;

/**
 * Throws BAD_OPTION. The client sends whatever it is given, also what the server takes for another
 * command.
 */
export function assertPublishSubject(subject: string): void {
  if (subject.length <= MAX_SUBJECT_LENGTH && subject.split('.').every((token) => TOKEN.test(token))) return;
  throw badSubject(subject, 'It needs tokens without spaces and wildcards, separated by single dots.');
}

/** As for publishing, with `*` for one token and `>` for all the rest. Throws BAD_OPTION. */
export function assertSubscribeSubject(subject: string): void {
  const tokens = subject.split('.');
  const valid = tokens.every((token, index) => {
    if (token === '*') return true;
    if (token === '>') return index === tokens.length - 1;
    return TOKEN.test(token);
  });
  if (valid && subject.length <= MAX_SUBJECT_LENGTH) return;
  throw badSubject(
    subject,
    'It needs tokens separated by single dots. "*" is a whole token, and ">" the last one.',
  );
}

function badSubject(subject: string, what: string): AntiphonError {
  const shown = JSON.stringify(subject.slice(0, 80));
  return new AntiphonError('BAD_OPTION', `${shown} is not a valid subject. ${what}`);
}
