import type { ApplyOutcome, ApplyStep, WriteOutcome } from '@antiphon/core';

export interface ApplyMessage {
  readonly steps: readonly ApplyStep[];
  readonly seq: number;
  /** Own transactions up to this counter are in the log, as of `seq`. */
  readonly published: number;
}

export interface WriteMessage {
  run(tx: unknown): unknown;
}

/** The owner of the store: everything that writes to the database is a message to it. */
export interface ReplicaProtocol {
  write(request: WriteMessage): WriteOutcome;
  apply(request: ApplyMessage): ApplyOutcome;
  /** Looks for writes by other programs. */
  poll(): void;
  /** Seals what other programs wrote, and sends it whatever the interval. */
  seal(): number;
  prune(counter: number): void;
  /** Library writes wait for at most so many milliseconds from now on. */
  hold(holdMs: number): void;
  release(): void;
  /** Ends a hold whose time is over. */
  expire(): void;
}

/** Sealed transactions to the log. */
export interface RelayProtocol {
  /** Something was sealed. */
  wake(): void;
  /** Send now, whatever the interval. */
  flush(): void;
  /** Results of appends have come in. */
  settled(): void;
  /** After a failure: try again from the first message without an answer. */
  resume(): void;
}

/** The log to the replica. Runs by itself. */
export interface FeedProtocol {
  /** The position is to be made durable. */
  keep(): void;
}

export interface PulseProtocol {
  beat(): void;
  /** Look at the log's identity now. */
  look(): void;
}
