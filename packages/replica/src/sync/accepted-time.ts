import type { Scope } from '../state/scope.js';

/**
 * Whether every replica accepts the time of what was just sealed, by the log's clock as far as it
 * is known here. If not, the entry itself tells, when it comes out of the log: it is judged there
 * by the rules that hold for everybody, and committed or not like everywhere.
 */
export function isSurelyAccepted({ clocks, document, hybrid, limits }: Scope): boolean {
  if (!document.rowVersions) return true;
  const window = clocks.logClock.window();
  return window !== undefined && hybrid.last / 1000 - window.earliestMs <= limits.clockRefusalMs / 2;
}
