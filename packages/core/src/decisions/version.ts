/** Version of a row: which transaction wrote it last, and when by its origin's hybrid clock. */
export interface Version {
  /** Hybrid time, microseconds. */
  readonly time: number;
  readonly origin: string;
  readonly counter: number;
}

/**
 * Total order of versions, the same on every replica (I4): hybrid time, then origin by UTF-16 code
 * unit (ids are ASCII, so that is also byte order; never the locale's), then counter.
 */
export function compareVersions(a: Version, b: Version): -1 | 0 | 1 {
  if (a.time !== b.time) return a.time < b.time ? -1 : 1;
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1;
  if (a.counter !== b.counter) return a.counter < b.counter ? -1 : 1;
  return 0;
}

/**
 * Last writer wins: may `candidate` replace `current`? Equal versions may, since one transaction
 * can write the same row several times. A row without a version loses against any.
 */
export function wins(candidate: Version, current: Version | undefined): boolean {
  return current === undefined || compareVersions(candidate, current) >= 0;
}
