import type {
  ApplyOutcome,
  ApplyStep,
  CompareOptions,
  Gap,
  KnownEntry,
  RecaptureReport,
  Verdict,
  WriteOutcome,
} from '@antiphon/core';
import type { SyncWrite } from './sync-write.js';

export interface PlannedApply {
  readonly steps: readonly ApplyStep[];
  readonly seq: number;
  /** What is known of the entry at `seq`, or of one before it. */
  readonly entry?: KnownEntry;
  /** Own transactions up to this counter are in the log, as of `seq`. */
  readonly published: number;
  /** What certification says of groups among the steps, by entry. */
  readonly verdicts: ReadonlyMap<number, Verdict>;
}

export interface ApplyMessage {
  /**
   * Called at the beginning of the turn, when nothing else moves the database any more; undefined: nothing is
   * left to do.
   */
  plan(): PlannedApply | undefined;
}

export interface WriteMessage {
  run(tx: unknown): unknown;
}

/** What an origin answers to whoever misses one of its transactions. */
export interface ResendAnswer {
  /**
   * `sending`: it is published again, and all after it. `coming`: it is under way. `later`: asked too often;
   * ask again. `stopped`: the origin has stalled. `gone`: it is not kept any more. `refused`: it can't be
   * published again.
   */
  readonly state: 'sending' | 'coming' | 'later' | 'stopped' | 'gone' | 'refused';
  /** A sentence for `status`. */
  readonly message: string;
}

/** The owner of the store: everything that writes to the database is a message to it. */
export interface ReplicaProtocol {
  write(request: WriteMessage): WriteOutcome;
  /** Synchronous writes answer for themselves. */
  submit(write: SyncWrite): void;
  /** The next synchronous group, if one waits. */
  advance(): void;
  /** Uses up own counters to this one, so that an attempt which took it and was lost can never come back. */
  fence(counter: number): void;
  apply(request: ApplyMessage): ApplyOutcome;
  /** Looks for writes by other programs. */
  poll(): void;
  /** Looks for another file, and for another schema, than the ones it knows. */
  check(): void;
  /**
   * Compares a table with the reference that was made for this state; unless it is a dry run, a stall for its
   * sake may be over then.
   */
  recapture(request: CompareOptions & { readonly table: string }): RecaptureReport;
  /** Seals what other programs wrote, and sends it whatever the interval. */
  seal(): number;
  prune(counter: number): void;
  /** Somebody misses our transaction with this counter: publish it again, and all after it. */
  resend(from: number): ResendAnswer;
  /** Something is missing here that the log does not show in order. */
  noteGap(gap: Gap): void;
  /** These gaps are none: what they wait for does not exist. */
  forgetGaps(gaps: readonly Gap[]): void;
  /** Tries at once what is held because the database does not take it. */
  hurry(): void;
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
  /** Somebody misses the transaction with this counter. */
  resend(from: number): ResendAnswer;
}

/** The log to the replica. Runs by itself. */
export interface FeedProtocol {
  /** Tries at once what the database did not take. */
  hurry(): void;
  /** A stall is over: read on. */
  resume(): void;
}

export interface PulseProtocol {
  beat(): void;
  /** Look at the log's identity now. */
  look(): void;
}
