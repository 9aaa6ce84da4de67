import { type Clock, type Log, sleep } from '@antiphon/core';
import { assertSameLog } from '../log/log-check.js';
import type { Health } from '../state/health.js';
import type { Positions } from '../state/positions.js';
import { untilReplicated, type Progress } from '../state/progress.js';
import type { Deadline } from '../wait/deadline.js';

interface Deps {
  readonly log: Pick<Log, 'identity'>;
  readonly clock: Clock;
  readonly health: Pick<Health, 'replicating' | 'stopped'>;
  readonly positions: Pick<Positions, 'applied' | 'passed' | 'freshAtMs' | 'sawEnd'>;
  readonly progress: Progress;
  readonly document: { readonly generation: string };
}

/** Of the log, as it was at that moment or later. */
interface End {
  readonly lastSeq: number;
  readonly asOfMs: number;
}

interface Look {
  readonly askedMs: number;
  readonly end: Promise<End>;
}

const LOOK_AGAIN_MS = 50;

/**
 * Reads with a bound on their staleness. A replica knows how far the log went when it last looked;
 * where that is too long ago, it looks again, and the reads that come meanwhile share the look.
 */
export class Freshness {
  #looking: Look | undefined;

  constructor(private readonly deps: Deps) {}

  /**
   * Resolves when this database shows everything that the log held `maxLagMs` before the call.
   * Throws TIMEOUT, LOG_UNAVAILABLE, LOG_REPLACED, ABORTED, CLOSED, or why replication has stopped.
   */
  async within(maxLagMs: number, deadline: Deadline): Promise<void> {
    const { positions, health, progress, clock } = this.deps;
    const sinceMs = clock.monotonicMs() - maxLagMs;
    if (health.stopped !== undefined) throw health.stopped;
    while (positions.freshAtMs < sinceMs) {
      const { lastSeq, asOfMs } = await deadline.race(this.#shared(sinceMs));
      await untilReplicated(progress, health, () => positions.applied >= lastSeq, {
        timeoutMs: deadline.leftMs,
        what: `everything up to entry ${lastSeq}, the end of the log, is applied here`,
        signal: deadline.signal,
      });
      // Who leads the log's servers hears the others every second, and knows no more before.
      if (asOfMs < sinceMs) await sleep(clock, LOOK_AGAIN_MS, deadline.signal);
    }
  }

  /** One that was asked at `sinceMs` or later is as good as a new one. */
  #shared(sinceMs: number): Promise<End> {
    if (this.#looking !== undefined && this.#looking.askedMs >= sinceMs) return this.#looking.end;
    const askedMs = this.deps.clock.monotonicMs();
    const look: Look = { askedMs, end: this.#look(askedMs) };
    const over = (): void => {
      if (this.#looking === look) this.#looking = undefined;
    };
    look.end.then(over, over);
    this.#looking = look;
    return look.end;
  }

  async #look(askedMs: number): Promise<End> {
    const { log, document, positions } = this.deps;
    const knownSeq = positions.passed;
    const identity = await log.identity();
    assertSameLog(identity, document.generation, knownSeq);
    const { lastSeq, leaderSilentMs = 0 } = identity;
    const asOfMs = askedMs - leaderSilentMs;
    positions.sawEnd(lastSeq, asOfMs);
    return { lastSeq, asOfMs };
  }
}
