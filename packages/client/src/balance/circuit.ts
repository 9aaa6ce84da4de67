/**
 * A circuit breaker for one replica (Nygard, "Release It!", 2007): after failures it gets no reads
 * for a while, then a single one as a probe, and what becomes of that decides.
 *
 * ```text
 *            failures                    time is up
 *   closed ───────────► open ◄───┐ ─────────────────► half-open
 *      ▲                         │ probe failed          │
 *      │                         └───────────────────────┤
 *      └─────────────────────────────────────────────────┘ probe answered
 * ```
 */
export type CircuitPhase = 'closed' | 'open' | 'half-open';

export interface Circuit {
  readonly phase: CircuitPhase;
  /** In a row. */
  readonly failures: number;
  /** Open until then, by a monotonic clock. */
  readonly untilMs: number;
  /** The probe of a half-open one is under way, and must answer by then. */
  readonly probeUntilMs: number;
}

/**
 * `answered`: also with an error that is the caller's own, as of wrong SQL. `gone`: NATS says that
 * nobody listens, which needs no second opinion. `failed`: any other failure of the replica.
 */
export type CircuitEvent = 'answered' | 'failed' | 'gone';

export const CLOSED: Circuit = { phase: 'closed', failures: 0, untilMs: 0, probeUntilMs: 0 };

/** Failures in a row until a circuit opens. */
export const FAILURES_TO_OPEN = 3;
const SHORTEST_OPEN_MS = 250;
const LONGEST_OPEN_MS = 10_000;
/** A probe that is not answered by then makes room for another one. */
const PROBE_MS = 2000;

/** What becomes of a circuit when a read ends. */
export function afterRead(circuit: Circuit, event: CircuitEvent, nowMs: number): Circuit {
  if (event === 'answered') return CLOSED;
  const failures = circuit.failures + 1;
  const opens = event === 'gone' || circuit.phase !== 'closed' || failures >= FAILURES_TO_OPEN;
  if (!opens) return { ...circuit, failures };
  // What was under way when it opened says nothing new.
  if (circuit.phase === 'open' && nowMs < circuit.untilMs) return circuit;
  const beyond = Math.max(0, event === 'gone' ? failures - 1 : failures - FAILURES_TO_OPEN);
  const openMs = Math.min(SHORTEST_OPEN_MS * 2 ** beyond, LONGEST_OPEN_MS);
  return { phase: 'open', failures, untilMs: nowMs + openMs, probeUntilMs: 0 };
}

/** What a circuit is at this moment: an open one is half-open once its time is up. */
export function phaseAt({ phase, untilMs, probeUntilMs }: Circuit, nowMs: number): CircuitPhase {
  if (phase === 'closed') return 'closed';
  if (nowMs < untilMs) return 'open';
  return nowMs < probeUntilMs ? 'open' : 'half-open';
}

/** When a read is sent: through a half-open circuit it is the probe, and there is one at a time. */
export function beforeRead(circuit: Circuit, nowMs: number): Circuit {
  if (phaseAt(circuit, nowMs) !== 'half-open') return circuit;
  return { ...circuit, phase: 'half-open', probeUntilMs: nowMs + PROBE_MS };
}
