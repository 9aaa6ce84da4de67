import { checkOptions, systemClock, type BusRequest, type Clock, type OptionNames } from '@antiphon/core';
import { Faults } from '../../faults/faults.js';
import { Link } from '../link.js';
import { MemoryBusConnection } from './connection.js';
import { subjectMatches } from './subject.js';

/** How a bus in memory behaves. */
export interface MemoryBusOptions {
  /**
   * Time and timers.
   * @defaultValue the real clock
   */
  readonly clock?: Clock;
  /**
   * What goes wrong.
   * @defaultValue nothing
   */
  readonly faults?: Faults;
}

const BUS_OPTIONS: OptionNames<MemoryBusOptions> = { clock: true, faults: true };

export interface BusListener {
  readonly pattern: string;
  readonly queue: string | undefined;
  readonly link: Link;
  readonly handle: (request: BusRequest) => void;
}

/**
 * Messages between processes in memory, with NATS's subjects, wildcards and queue groups. Nothing
 * is stored.
 *
 *     const shared = memoryBus();
 *     const bus = shared.connect();          // a Bus
 */
export class MemoryBus {
  readonly clock: Clock;
  readonly faults: Faults;
  /** What handlers threw; counted here since a bus must survive it. */
  handlerErrors = 0;
  /** The subjects of messages, for tests; called as each one arrives at the server. */
  observer: ((subject: string, data: Uint8Array) => void) | undefined;
  readonly #listeners = new Set<BusListener>();

  constructor(options: MemoryBusOptions = {}) {
    checkOptions(options, BUS_OPTIONS, 'memoryBus()');
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
  }

  connect(link: Link = new Link({ clock: this.clock, faults: this.faults })): MemoryBusConnection {
    return new MemoryBusConnection(this, link);
  }

  add(listener: BusListener): void {
    this.#listeners.add(listener);
  }

  remove(listener: BusListener): void {
    this.#listeners.delete(listener);
  }

  /**
   * Hands a message that has arrived on to everybody who listens, one of each queue group. Returns
   * to how many.
   */
  deliver(request: BusRequest): number {
    this.observer?.(request.subject, request.data);
    const receivers = this.#receivers(request.subject);
    for (const { link, handle } of receivers) {
      if (this.faults.strikes('lostBusMessage')) continue;
      const times = this.faults.strikes('duplicatedBusMessage') ? 2 : 1;
      for (let i = 0; i < times; i++) link.receive(() => this.#guard(() => handle(request)));
    }
    return receivers.length;
  }

  #receivers(subject: string): readonly BusListener[] {
    const matching = [...this.#listeners].filter(
      ({ pattern, link }) => link.state === 'connected' && subjectMatches(pattern, subject),
    );
    const groups = new Map<string, BusListener[]>();
    for (const listener of matching) {
      if (listener.queue === undefined) continue;
      const key = `${listener.pattern} ${listener.queue}`;
      groups.set(key, [...(groups.get(key) ?? []), listener]);
    }
    const chosen = new Set<BusListener>();
    for (const members of groups.values()) {
      const member = members[Math.floor(this.clock.random() * members.length)];
      if (member !== undefined) chosen.add(member);
    }
    return matching.filter((listener) => listener.queue === undefined || chosen.has(listener));
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch {
      this.handlerErrors++;
    }
  }
}

/** A bus in memory; `connect()` gives each process its own connection. */
export function memoryBus(options?: MemoryBusOptions): MemoryBus {
  return new MemoryBus(options);
}
