import type { Scope } from './scope.js';

/**
 * Why this replica is of no use as the primary, although the log may name it: it would take no
 * writes, or nobody would get them. Undefined: it is fit. Where the way out of a stall is to
 * recapture tables, that is to be done on the primary, which keeps its place.
 */
export function whyUnfit({ clocks, commits, health: { stalled } }: Scope): string | undefined {
  const stall = stalled?.tables === undefined ? stalled : undefined;
  return (stall ?? clocks.refusal ?? commits.refusal)?.message;
}
