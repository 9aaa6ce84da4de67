import type { Log } from '@antiphon/core';

/**
 * What a log's package gives to the conformance kit: one log of its own per harness, that does not
 * exist yet.
 */
export interface LogHarness {
  /** Another connection to the log, as another process would have. */
  connect(): Promise<Log>;
  /**
   * Nobody reaches the log any more until what comes back is called. Nothing that is stored gets
   * lost.
   */
  interrupt(): Promise<() => Promise<void>>;
  /**
   * The log answers nobody until what comes back is called, and is still connected to everybody.
   * Nothing gets lost.
   */
  stall(): Promise<() => Promise<void>>;
  /** Somebody deletes the log and makes another one under its name. */
  recreate(): Promise<void>;
  /** Entries before this one are gone. */
  trim(firstSeq: number): Promise<void>;
  /**
   * Remembers the log as it is. What comes back puts it back: entries since are gone, and everybody
   * is connected again.
   */
  checkpoint(): Promise<() => Promise<void>>;
  deleteDurable(name: string): Promise<void>;
  /** What the log itself says a durable consumer has acknowledged; undefined when there is none. */
  durableFloor(name: string): Promise<number | undefined>;
  dispose(): Promise<void>;
}
