import type { Clock } from '@antiphon/core';

export interface Backoff {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
  /**
   * 0…1: the share of a delay that is left to chance, so that what failed together does not come
   * back together.
   */
  readonly jitter: number;
}

export interface RestartPolicy {
  /** One more crash within `windowMs` than this escalates. */
  readonly maxRestarts: number;
  readonly windowMs: number;
  readonly backoff: Backoff;
}

/**
 * What becomes of an actor that crashed. `escalate`: it stops and its parent crashes (a top-level
 * one: the system).
 */
export type Supervision = 'stop' | 'escalate' | { readonly restart: RestartPolicy };

export const DEFAULT_SUPERVISION: Supervision = {
  restart: {
    maxRestarts: 10,
    windowMs: 60_000,
    backoff: { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.2 },
  },
};

export type Verdict =
  | { readonly type: 'restart'; readonly delayMs: number }
  | { readonly type: 'stop' }
  | { readonly type: 'escalate' };

/** The n-th delay (from 0) is min(max, initial × factorⁿ), less up to its jittered share. */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  const full = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** attempt);
  return full * (1 - backoff.jitter * random);
}

/**
 * Remembers one actor's crashes. A crash older than the window is forgotten, so the backoff starts
 * over.
 */
export class Supervisor {
  #crashesMs: number[] = [];

  constructor(
    private readonly supervision: Supervision,
    private readonly clock: Clock,
  ) {}

  crashed(): Verdict {
    if (typeof this.supervision === 'string') return { type: this.supervision };
    const { maxRestarts, windowMs, backoff } = this.supervision.restart;
    const nowMs = this.clock.monotonicMs();
    const recent = this.#crashesMs.filter((crashMs) => nowMs - crashMs < windowMs);
    if (recent.length >= maxRestarts) return { type: 'escalate' };
    this.#crashesMs = [...recent, nowMs];
    return { type: 'restart', delayMs: backoffMs(backoff, recent.length, this.clock.random()) };
  }
}
