import {
  AntiphonError,
  checkOptions,
  decodeLeaseRecord,
  systemClock,
  type Clock,
  type LeaseEntry,
  type OptionNames,
} from '@antiphon/core';
import { Faults } from '../../faults/faults.js';
import { Link } from '../link.js';
import { MemoryLeaseConnection } from './connection.js';

/** How a lease in memory behaves. */
export interface MemoryLeaseOptions {
  /**
   * Time and timers.
   * @defaultValue the real clock
   */
  readonly clock?: Clock;
  /**
   * What goes wrong. A lease is taken as an entry is appended, and read by a call.
   * @defaultValue nothing
   */
  readonly faults?: Faults;
}

const LEASE_OPTIONS: OptionNames<MemoryLeaseOptions> = { clock: true, faults: true };

export interface LeaseListener {
  readonly link: Link;
  readonly hear: (data: Uint8Array) => void;
}

/**
 * The lease of a cluster in memory: the in-memory adapter of a JetStream stream that holds one
 * message, with what can happen to one.
 *
 *     const shared = memoryLease();
 *     const lease = shared.connect();        // a Lease
 *     shared.remove();                       // somebody deletes the stream
 */
export class MemoryLease {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly #listeners = new Set<LeaseListener>();
  #lastSeq = 0;
  #data: Uint8Array | undefined;

  constructor(options: MemoryLeaseOptions = {}) {
    checkOptions(options, LEASE_OPTIONS, 'memoryLease()');
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
  }

  /** A connection of one process; break it through its `link`. */
  connect(link: Link = new Link({ clock: this.clock, faults: this.faults })): MemoryLeaseConnection {
    return new MemoryLeaseConnection(this, link);
  }

  /** As it is now, made when it is missing. */
  get entry(): LeaseEntry {
    return { seq: this.#lastSeq, record: this.#data && decodeLeaseRecord(this.#data) };
  }

  /**
   * Everybody who listens hears it, whether it is stored or not. Undefined: it is not. Without an
   * expectation it always is: whoever may publish can.
   */
  publish(data: Uint8Array, expectedSeq?: number): number | undefined {
    for (const { link, hear } of this.#listeners) this.#tell(link, () => hear(data));
    const { seq } = this.entry;
    if (expectedSeq !== undefined && expectedSeq !== seq) return undefined;
    this.#data = data;
    this.#lastSeq = seq + 1;
    return this.#lastSeq;
  }

  /** Somebody deletes its messages; what comes next has the next number. */
  purge(): void {
    this.#data = undefined;
  }

  /** Somebody deletes the stream. */
  remove(): void {
    this.#data = undefined;
    this.#lastSeq = 0;
  }

  listen(listener: LeaseListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** As the bus does: a stream's message is an ordinary one to whoever listens. */
  #tell(link: Link, hear: () => void): void {
    if (link.state !== 'connected' || this.faults.strikes('lostBusMessage')) return;
    const times = this.faults.strikes('duplicatedBusMessage') ? 2 : 1;
    for (let i = 0; i < times; i++) link.receive(hear);
  }
}

/** A lease in memory; `connect()` gives each process its own connection. */
export function memoryLease(options?: MemoryLeaseOptions): MemoryLease {
  return new MemoryLease(options);
}

export function assertLease(data: Uint8Array, expectedSeq: number): void {
  if (decodeLeaseRecord(data) !== undefined && Number.isSafeInteger(expectedSeq) && expectedSeq >= 0) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `A record behind entry ${expectedSeq} is not a lease. Give a holder, its instance, and whole numbers.`,
  );
}
