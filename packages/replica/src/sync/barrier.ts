import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, type AppendResult, type Clock, type Log, sleep } from '@antiphon/core';
import { barrierEntry } from '../state/barrier-entry.js';
import type { RelayProtocol } from '../state/protocols.js';
import { retryDelayMs, type Deadline } from '../wait/deadline.js';
import type { Health } from '../state/health.js';
import type { Positions } from '../state/positions.js';
import { untilReplicated, type Progress } from '../state/progress.js';

/**
 * An entry without an answer is given up for another one: reads that come later must not wait for
 * its last second.
 */
const APPEND_TIMEOUT_MS = 1000;

interface Deps {
  readonly id: string;
  readonly instance: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly health: Pick<Health, 'replicating' | 'stopped'>;
}

/**
 * Linearizable reads: an entry of our own in the log comes after everything that was acknowledged
 * before it was appended, so a database that has dealt with it shows all of that (ReadIndex by a
 * log entry; Ongaro, "Consensus", 6.4). Reads that come while one is under way share the next one.
 */
export class ReadBarrier {
  #next: Promise<number> | undefined;
  #current: Promise<unknown> = Promise.resolve();
  #count = 0;
  #chain: ActorRef<RelayProtocol> | undefined;

  constructor(
    private readonly deps: Deps,
    private readonly positions: Pick<Positions, 'applied' | 'end' | 'sawEnd'>,
    private readonly progress: Progress,
  ) {}

  /**
   * While this replica appends alone: an entry beside its chain would make it begin anew, and wait
   * for what it has not read.
   */
  inChainOf(relay: ActorRef<RelayProtocol> | undefined): void {
    this.#chain = relay;
  }

  /**
   * Resolves when this replica's database shows everything that was acknowledged before the call.
   * Whatever the log does, it ends at the deadline. Throws TIMEOUT, LOG_UNAVAILABLE, ABORTED,
   * CLOSED, or why replication has stalled.
   */
  async pass(deadline: Deadline): Promise<void> {
    const { health } = this.deps;
    const { stopped } = health;
    if (stopped !== undefined) throw stopped;
    const seq = await this.#sequence(deadline);
    // A primary that appends alone reads no further than it has to.
    if (seq > this.positions.end) this.positions.sawEnd(seq);
    await untilReplicated(this.progress, health, () => this.positions.applied >= seq, {
      timeoutMs: deadline.leftMs,
      what: `everything up to entry ${seq} of the log, which a strong read has to show, is applied here`,
      signal: deadline.signal,
    });
  }

  async #sequence(deadline: Deadline): Promise<number> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await deadline.race(this.#shared());
      } catch (error) {
        const { clock } = this.deps;
        const delayMs = retryDelayMs(attempt, clock);
        const retriable = error instanceof AntiphonError && error.retriable;
        if (!retriable || deadline.signal.aborted || delayMs >= deadline.leftMs) throw error;
        await deadline.race(sleep(clock, delayMs, deadline.signal));
      }
    }
  }

  /**
   * One that is under way may have been appended before the call: only the one after it will do.
   */
  #shared(): Promise<number> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#current.then(() => {
      this.#next = undefined;
      return this.#append();
    });
    this.#next = next;
    this.#current = next.catch(() => undefined);
    return next;
  }

  async #append(): Promise<number> {
    const chain = this.#chain;
    if (chain === undefined) return await this.#appendBeside();
    try {
      return await chain.ask('barrier', undefined, { timeoutMs: APPEND_TIMEOUT_MS });
    } catch (error) {
      if (this.#chain === chain) throw error;
      // Deposed meanwhile: what the log says of that is read with it.
      return await this.#appendBeside();
    }
  }

  async #appendBeside(): Promise<number> {
    const { log } = this.deps;
    const request = { ...barrierEntry(this.deps, ++this.#count), timeoutMs: APPEND_TIMEOUT_MS };
    const result = await new Promise<AppendResult>((settled) => log.append(request, settled));
    if (result.type === 'stored') return result.seq;
    throw result.error;
  }
}
