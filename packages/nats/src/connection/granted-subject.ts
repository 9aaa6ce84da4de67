export type DeniedOperation = 'publish' | 'subscribe' | 'login';

type Rule = readonly [pattern: RegExp, replacement: string];

/** An inbox: the client makes up 22 letters and digits, and numbers what follows. */
const INBOXES: readonly Rule[] = [
  [/^(_INBOX[^.]*)\..*$/, '$1.>'],
  [/^(?!antiphon\.|\$)(.+?)\.[A-Z0-9]{22}(?:\..*)?$/, '$1.>'],
];
const CONSUMER = String.raw`^(\$JS\.API\.CONSUMER\.(?:CREATE|INFO|DELETE|MSG\.NEXT)\.[^.]+)\.`;

/** Parts that differ with each message, connection or addressee. */
const MADE_UP: Readonly<Record<DeniedOperation, readonly Rule[]>> = {
  publish: [
    ...INBOXES,
    [/^(\$JS\.ACK\.[^.]+\.[^.]+)\..*$/, '$1.>'],
    [new RegExp(`${CONSUMER}(?!replica_).+$`), '$1.*'],
    [/^(\$KV\.[^.]+\.(?:member|subscription))\.[^.]+$/, '$1.*'],
    [/^(antiphon\.[^.]+\.ack)\..*$/, '$1.>'],
    [/^(antiphon\.[^.]+\.replica)\.[^.]+\.([^.]+)$/, '$1.*.$2'],
  ],
  subscribe: [...INBOXES, [/^(antiphon\.[^.]+\.ack\.[^.]+)\.[^.]+$/, '$1.*']],
  login: [],
};

/** What the grants of docs/access.md leave open besides. */
const OPEN: Readonly<Record<DeniedOperation, readonly Rule[]>> = {
  publish: [
    [new RegExp(`${CONSUMER}.+$`), '$1.*'],
    [/^(antiphon\.[^.]+\.replica)\..*$/, '$1.*.*'],
  ],
  subscribe: [[/^(antiphon\.[^.]+\.replica\.[^.]+)\.[^.]+$/, '$1.*']],
  login: [],
};

/** What is tried again under another made-up name is the same thing. */
export function lastingSubject(operation: DeniedOperation, subject: string, inboxPrefix: string): string {
  if (subject.startsWith(`${inboxPrefix}.`)) return `${inboxPrefix}.>`;
  return applied(MADE_UP[operation], subject);
}

/**
 * What an administrator grants for a subject, as docs/access.md lists it. What runs asks whatever
 * it wants of whomever; the command line may be permitted some questions alone, and names the one
 * that it asked.
 */
export function grantedSubject(
  operation: DeniedOperation,
  subject: string,
  { inboxPrefix, running }: { readonly inboxPrefix: string; readonly running: boolean },
): string {
  const isMailbox = /^antiphon\.[^.]+\.replica\./.test(subject);
  if (operation === 'publish' && isMailbox && !running) return subject;
  return applied(OPEN[operation], lastingSubject(operation, subject, inboxPrefix));
}

function applied(rules: readonly Rule[], subject: string): string {
  return rules.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), subject);
}
