import type { LogIdentity } from '../ports/log.js';

/** Antiphon's own records: their origins are no identifiers, and nobody applies them. */
const RESERVED_PREFIX = '_';

export function isReserved(origin: string): boolean {
  return origin.startsWith(RESERVED_PREFIX);
}

/**
 * The first entry that a member may have written. The one before it is the record that says which
 * log it is, which is written again where it was trimmed.
 */
export const FIRST_ENTRY_SEQ = 2;

/** Everything that members ever wrote is in this log. */
export function isWhole({ firstSeq, removed = 0 }: LogIdentity): boolean {
  return firstSeq <= FIRST_ENTRY_SEQ && removed === 0;
}
