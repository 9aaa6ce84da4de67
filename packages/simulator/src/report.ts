import type { SimulatedTopology, SimulatedUpdate } from './options.js';
import type { Violation } from './violation.js';

/** The outcome of one simulated run. */
export interface SimulationReport {
  readonly seed: number;
  readonly topology: SimulatedTopology;
  readonly update: SimulatedUpdate;
  /** What the run's world had. */
  readonly features: string;
  readonly ok: boolean;
  readonly violations: readonly Violation[];
  readonly counts: Readonly<Record<string, number>>;
  readonly virtualMs: number;
  readonly events: number;
  /** Equal for equal runs. */
  readonly traceHash: string;
  /** The end of the trace, when something is wrong. */
  readonly lastEvents: readonly string[];
}

export function describeReport(report: SimulationReport): string {
  const { seed, topology, update, features, ok, violations, counts } = report;
  const shown = [
    'writes',
    'outsideWrites',
    'transactions',
    'crashes',
    'powerLosses',
    'disconnections',
    'outages',
    'lostAppends',
    ...(update === 'sync' ? ['unknownWrites', 'rejectedTransactions', 'strongReads', 'pauses'] : []),
  ];
  const numbers = shown.map((name) => `${name} ${counts[name] ?? 0}`).join(', ');
  if (ok) return `seed ${seed} (${topology}, ${update}; ${features}): ok; ${numbers}`;
  const lines = violations.map(({ invariant, replica, message }) => `  ${invariant} ${replica}: ${message}`);
  return [`seed ${seed} (${topology}, ${update}; ${features}): FAILED; ${numbers}`, ...lines].join('\n');
}
