import { AntiphonError } from '../errors/antiphon-error.js';

/**
 * Safe as a NATS subject token, a stream and consumer name, a file name and a column value alike.
 */
const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

export function isIdentifier(text: string): boolean {
  return IDENTIFIER.test(text);
}

/** Throws BAD_OPTION. */
export function assertReplicaId(id: string): void {
  assertIdentifier('replica id', id);
}

/** Throws BAD_OPTION. */
export function assertClusterName(name: string): void {
  assertIdentifier('cluster name', name);
}

function assertIdentifier(what: string, text: unknown): void {
  if (typeof text === 'string' && isIdentifier(text)) return;
  const shown = typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : String(text);
  throw new AntiphonError(
    'BAD_OPTION',
    `${shown} is not a valid ${what}. Use 1 to 63 letters, digits, "-" and "_", beginning with a letter or digit.`,
  );
}
