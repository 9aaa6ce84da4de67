import { checkOptions } from '@antiphon/core';
import { Random } from '../clock/random.js';

/** How probable each fault is, 0 to 1, and how long messages take. */
export interface FaultRates {
  /**
   * A publish that never reaches the log; later ones may be stored before it is sent again: a hole.
   */
  readonly lostAppend: number;
  /** Stored, but the answer is lost: the publisher is told `unknown`. */
  readonly lostAppendReply: number;
  /** Its answer comes later than what a reader of the log gets meanwhile, its entry included. */
  readonly lateAppendReply: number;
  /** Reported `unknown`, and stored long after. */
  readonly lateAppend: number;
  /** Stored twice: the second one comes after the log has forgotten the first one's id. */
  readonly duplicatedAppend: number;
  /**
   * Stored although the origin's last entry is another one than expected: a log that does not keep
   * its promise.
   */
  readonly rivalAppend: number;
  /** Certainly not stored, and said so. */
  readonly refusedAppend: number;
  /** A question to the log or the registry, or its answer, is lost. */
  readonly lostCall: number;
  readonly lostBusMessage: number;
  readonly duplicatedBusMessage: number;
  /** Another program holds the database's write lock: STORE_BUSY. */
  readonly storeBusy: number;
  /** STORE_FULL. */
  readonly storeFull: number;
  /** One way between a replica and the log. */
  readonly minLatencyMs: number;
  readonly maxLatencyMs: number;
  /** Of one database transaction, up to its commit. */
  readonly maxStoreMs: number;
}

/** Something that goes wrong by chance. */
export type FaultKind = Exclude<keyof FaultRates, 'minLatencyMs' | 'maxLatencyMs' | 'maxStoreMs'>;

/** Nothing goes wrong, and nothing takes time. */
export const NO_FAULTS: FaultRates = {
  lostAppend: 0,
  lostAppendReply: 0,
  lateAppendReply: 0,
  lateAppend: 0,
  duplicatedAppend: 0,
  rivalAppend: 0,
  refusedAppend: 0,
  lostCall: 0,
  lostBusMessage: 0,
  duplicatedBusMessage: 0,
  storeBusy: 0,
  storeFull: 0,
  minLatencyMs: 0,
  maxLatencyMs: 0,
  maxStoreMs: 0,
};

/**
 * What goes wrong in the in-memory adapters, by chance from a seed. Every adapter asks one of
 * these; the rates may change while it runs (`heal` before looking at the outcome).
 *
 *     const faults = new Faults(new Random(7), { lostAppend: 0.2 });
 *     const log = memoryLog({ faults });
 */
export class Faults {
  readonly #random: Random;
  readonly #counts = new Map<FaultKind, number>();
  #rates: FaultRates;

  constructor(random: Random, rates: Partial<FaultRates> = {}) {
    this.#random = random;
    this.#rates = { ...NO_FAULTS, ...known(rates) };
  }

  static none(): Faults {
    return new Faults(new Random(0));
  }

  get rates(): FaultRates {
    return this.#rates;
  }

  set(rates: Partial<FaultRates>): void {
    this.#rates = { ...this.#rates, ...known(rates) };
  }

  /** No faults from now on; what is under way takes its course. */
  heal(): void {
    const { minLatencyMs, maxLatencyMs } = this.#rates;
    this.#rates = { ...NO_FAULTS, minLatencyMs, maxLatencyMs };
  }

  /** Does it go wrong this time? Counted when it does. */
  strikes(kind: FaultKind): boolean {
    if (!this.#random.chance(this.#rates[kind])) return false;
    this.#counts.set(kind, this.count(kind) + 1);
    return true;
  }

  count(kind: FaultKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  latencyMs(): number {
    const { minLatencyMs, maxLatencyMs } = this.#rates;
    return minLatencyMs + this.#random.next() * (maxLatencyMs - minLatencyMs);
  }

  storeMs(): number {
    return this.#random.next() * this.#rates.maxStoreMs;
  }

  /** Some further time, for what comes late. */
  delayMs(atMostMs: number): number {
    return this.#random.next() * atMostMs;
  }
}

function known(rates: Partial<FaultRates>): Partial<FaultRates> {
  checkOptions(rates, { ...NO_FAULTS }, 'Faults');
  return rates;
}
