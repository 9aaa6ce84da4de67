import type { Clock, Log } from '@antiphon/core';
import { assertSameLog } from '../log/log-check.js';
import type { Health } from '../state/health.js';
import type { Positions } from '../state/positions.js';
import { untilReplicated, type Progress } from '../state/progress.js';
import type { Deadline } from '../wait/deadline.js';

interface Deps {
  readonly log: Pick<Log, 'identity'>;
  readonly clock: Clock;
  readonly health: Pick<Health, 'replicating' | 'stopped'>;
  readonly positions: Pick<Positions, 'applied' | 'passed' | 'staleMs' | 'sawEnd'>;
  readonly progress: Progress;
  readonly document: { readonly generation: string };
}

interface Look {
  readonly askedMs: number;
  readonly lastSeq: Promise<number>;
}

/**
 * Reads with a bound on their staleness. A replica knows how far the log went when it last looked;
 * where that is too long ago, it looks again, and the reads that come meanwhile share the look.
 */
export class Freshness {
  #looking: Look | undefined;

  constructor(private readonly deps: Deps) {}

  /**
   * Resolves when this database shows everything that the log held `maxLagMs` ago or later. Throws
   * TIMEOUT, LOG_UNAVAILABLE, LOG_REPLACED, ABORTED, CLOSED, or why replication has stopped.
   */
  async within(maxLagMs: number, deadline: Deadline): Promise<void> {
    const { positions, health, progress, clock } = this.deps;
    if (health.stopped !== undefined) throw health.stopped;
    if (positions.staleMs <= maxLagMs) return;
    const lastSeq = await deadline.race(this.#shared(clock.monotonicMs() - maxLagMs));
    await untilReplicated(progress, health, () => positions.applied >= lastSeq, {
      timeoutMs: deadline.leftMs,
      what: `everything up to entry ${lastSeq}, the end of the log, is applied here`,
      signal: deadline.signal,
    });
  }

  /** One that was asked at `sinceMs` or later is as good as a new one. */
  #shared(sinceMs: number): Promise<number> {
    if (this.#looking !== undefined && this.#looking.askedMs >= sinceMs) return this.#looking.lastSeq;
    const askedMs = this.deps.clock.monotonicMs();
    const look: Look = { askedMs, lastSeq: this.#look(askedMs) };
    const over = (): void => {
      if (this.#looking === look) this.#looking = undefined;
    };
    look.lastSeq.then(over, over);
    this.#looking = look;
    return look.lastSeq;
  }

  async #look(askedMs: number): Promise<number> {
    const { log, document, positions } = this.deps;
    const knownSeq = positions.passed;
    const identity = await log.identity();
    assertSameLog(identity, document.generation, knownSeq);
    positions.sawEnd(identity.lastSeq, askedMs);
    return identity.lastSeq;
  }
}
