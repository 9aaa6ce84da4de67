/** Antiphon's own records: their origins are no identifiers, and nobody applies them. */
const RESERVED_PREFIX = '_';

export function isReserved(origin: string): boolean {
  return origin.startsWith(RESERVED_PREFIX);
}
