import {
  AntiphonError,
  checkOptions,
  systemClock,
  type Clock,
  type LogEntry,
  type LogIdentity,
  type OptionNames,
} from '@antiphon/core';
import { Faults } from '../../faults/faults.js';
import { Link } from '../link.js';
import { MemoryLogConnection } from './connection.js';
import { Stream } from './stream.js';

/** How a log in memory behaves. */
export interface MemoryLogOptions {
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
  /**
   * Maximum bytes of an entry; MESSAGE_TOO_LARGE beyond it.
   * @defaultValue 1 MiB
   */
  readonly maxMessageBytes?: number;
  /**
   * How long the log remembers ids, in milliseconds.
   * @defaultValue 120 000
   */
  readonly dedupeWindowMs?: number;
}

const LOG_OPTIONS: OptionNames<MemoryLogOptions> = {
  ...{ clock: true, faults: true, maxMessageBytes: true, dedupeWindowMs: true },
};
const DEFAULT_MAX_MESSAGE_BYTES = 1_048_576;
const DEFAULT_DEDUPE_WINDOW_MS = 120_000;

/**
 * An ordered log in memory that several replicas share, each by a connection of its own: the
 * in-memory adapter of a JetStream stream, with what can happen to one.
 *
 *     const shared = memoryLog();
 *     const log = shared.connect();          // a Log
 *     shared.recreate();                     // somebody deletes the stream and makes a new one
 */
export class MemoryLog {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly maxMessageBytes: number;
  readonly #dedupeWindowMs: number;
  readonly #listeners = new Set<() => void>();
  #stream: Stream | undefined;
  #generations = 0;

  constructor(options: MemoryLogOptions = {}) {
    checkOptions(options, LOG_OPTIONS, 'memoryLog()');
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
    this.maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
    this.#dedupeWindowMs = options.dedupeWindowMs ?? DEFAULT_DEDUPE_WINDOW_MS;
  }

  /** A connection of one process; break it through its `link`. */
  connect(link: Link = new Link({ clock: this.clock, faults: this.faults })): MemoryLogConnection {
    return new MemoryLogConnection(this, link);
  }

  /** LOG_REPLACED when there is no log (any more). */
  get stream(): Stream {
    if (this.#stream !== undefined) return this.#stream;
    throw new AntiphonError(
      'LOG_REPLACED',
      'There is no such log. Open it with `create`, or find out who deleted it.',
    );
  }

  get exists(): boolean {
    return this.#stream !== undefined;
  }

  create(): LogIdentity {
    if (this.#stream === undefined) {
      this.#generations++;
      const generation = `memory-${this.#generations}-${Math.floor(this.clock.random() * 1e9).toString(36)}`;
      this.#stream = new Stream(generation, { clock: this.clock, dedupeWindowMs: this.#dedupeWindowMs });
      this.changed();
    }
    return this.#stream.identity();
  }

  /** Deletes the log with everything in it. */
  remove(): void {
    this.#stream = undefined;
    this.changed();
  }

  recreate(): LogIdentity {
    this.#stream = undefined;
    return this.create();
  }

  trim(firstSeq: number): void {
    this.stream.trim(firstSeq);
    this.changed();
  }

  loseTail(count: number): void {
    this.stream.loseTail(count);
    this.changed();
  }

  deleteDurable(name: string): void {
    this.stream.durables.delete(name);
  }

  /**
   * The highest sequence acknowledged by a durable consumer; undefined when there is none of that
   * name.
   */
  durableFloor(name: string): number | undefined {
    return this.#stream?.durables.get(name);
  }

  entries(): readonly LogEntry[] {
    return this.#stream?.all() ?? [];
  }

  /** Called when entries come, go, or the log is another one. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A log in memory; `connect()` gives each process its own connection. */
export function memoryLog(options?: MemoryLogOptions): MemoryLog {
  return new MemoryLog(options);
}
