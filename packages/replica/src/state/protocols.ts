import type { SpanContext } from '@opentelemetry/api';
import type {
  AntiphonError,
  CompareOptions,
  DetectorEvent,
  EpochReason,
  Gap,
  KeeperEvent,
  LogEntry,
  RecaptureReport,
  RescueState,
  WriteOutcome,
} from '@antiphon/core';
import type { SyncWrite } from './sync-write.js';

/** Entries of the log, in order, from after the position on. */
export interface Delivery {
  readonly entries: readonly LogEntry[];
  /**
   * To be asked at most once, when the turn begins: what has come in behind them since. It is a
   * part of the delivery from then on. Absent: they go alone.
   */
  readonly more?: () => readonly LogEntry[];
  /** The entry at which the last delivery halted, when no replica can apply it. */
  readonly unreadable?: { readonly seq: number; readonly error: AntiphonError };
}

/** What became of it. Entries after `doneSeq` are to be delivered again. */
export interface DeliveryResult {
  readonly doneSeq: number;
  /** What this database does not take, or not yet; the position stays before it. */
  readonly refused?: {
    readonly seq: number;
    readonly origin?: string;
    readonly counter?: number;
    readonly error: AntiphonError;
  };
  /**
   * Nothing from the entry after `doneSeq` on may be dealt with. `newer-schema`: it may, once it is
   * known that the cluster has no such schema. `deposed`: it may, once this database has given up
   * what only it has. `spent`: likewise, and then the numbers go on behind that of the entry.
   * `later-epoch`: it may, once it is known that the log has no record of that epoch.
   */
  readonly halt?: {
    readonly reason:
      'foreign-writer' | 'newer-schema' | 'cause-missing' | 'deposed' | 'spent' | 'later-epoch';
    readonly error: AntiphonError;
  };
}

/** Entries that were passed before, judged anew by what is known now. */
export interface RejudgeRequest {
  readonly entries: readonly LogEntry[];
  /** The message in quarantine that holds the entry; it leaves when nothing of it is in the way. */
  readonly release?: number;
}

export interface RejudgeResult {
  /** One for each entry, in order. */
  readonly verdicts: readonly {
    readonly seq: number;
    readonly origin: string;
    /**
     * Why not all of it can be applied, as a sentence without its stop; absent when nothing is in
     * the way.
     */
    readonly obstacle?: string;
    /** Its origin is a member, and it holds the next transaction that is missing here. */
    readonly isNext: boolean;
  }[];
  /** Of transactions and parts; 0 when what is acceptable was here already. */
  readonly steps: number;
  /** The database did not take all of them. */
  readonly refused?: AntiphonError;
}

export interface WriteMessage {
  run(tx: unknown): unknown;
  /** The span of its commit: what follows from it goes on with it. */
  readonly trace?: SpanContext;
}

/** What an origin answers to whoever misses one of its transactions. */
export interface ResendAnswer {
  /**
   * `sending`: it is published again, and all after it. `coming`: it is under way. `later`: asked
   * too often; ask again. `stopped`: the origin has stalled. `gone`: it is not kept any more.
   * `refused`: it can't be published again.
   */
  readonly state: 'sending' | 'coming' | 'later' | 'stopped' | 'gone' | 'refused';
  /** A sentence for `status`. */
  readonly message: string;
}

/**
 * To become the primary. What is wanted now need not be any more when the log answers again, so
 * all but `ending` is looked at before each record.
 */
export interface ClaimRequest {
  readonly why: EpochReason;
  /** Only if that is the newest epoch here when it is asked. */
  readonly ending?: number;
  /** Only from this primary, and while it says that its epoch has not begun there. */
  readonly unlessBegun?: string;
  /** Only while this process is who has taken the lease last. */
  readonly withLease?: boolean;
  /** Only until then; monotonic. */
  readonly untilMs?: number;
}

/** The owner of the store: everything that writes to the database is a message to it. */
export interface ReplicaProtocol {
  write(request: WriteMessage): WriteOutcome;
  /** The next group of asynchronous writes, of those that the last one had no time for. */
  writeOn(): void;
  /** Synchronous writes answer for themselves. */
  submit(write: SyncWrite): void;
  /**
   * Who may write has changed: the children of the last term end, and those of the new one begin.
   */
  enter(): void;
  /** Claims the next epoch, if nobody's comes before. */
  claim(request: ClaimRequest): void;
  /**
   * The primary of this epoch takes no other programs' writes any more, and the library's wait for
   * `holdMs`. False: it is not that any more, or hands over already; nothing has changed.
   */
  handOver(request: { readonly epoch: number; readonly holdMs: number; readonly beforeMs: number }): boolean;
  /** Another primary's epoch comes next: what only this database has goes to the rescue ledger. */
  /** `spent`: for this primary, up to which own number none is given any more. */
  rewind(spent: number | undefined): void;
  /** The next synchronous group, if one waits. */
  advance(): void;
  /**
   * Uses up own counters to this one, so that an attempt which took it and was lost can never come
   * back.
   */
  noOpGroup(counter: number): void;
  /**
   * Decides about entries of the log and applies them, in one turn. Rejects as `Store.apply` does.
   */
  apply(delivery: Delivery): DeliveryResult;
  /**
   * Judges and applies in one turn, beside what the log brings: the position stays. Rejects as
   * `Store.apply` does.
   */
  rejudge(request: RejudgeRequest): RejudgeResult;
  /** Forgets these messages in quarantine. */
  discard(ids: readonly number[]): void;
  /** What was decided about a rescued transaction; false when it is not kept any more. */
  resolveRescue(resolution: {
    readonly id: number;
    readonly state: Exclude<RescueState, 'kept'>;
    readonly by?: string;
  }): boolean;
  /** Looks for writes by other programs. */
  poll(): void;
  /** Where nothing was committed lately, sees whether something would be, and notes that. */
  tryCommit(): void;
  /** Lets them go on writing to the file of a primary. */
  attend(): void;
  /** Looks for another file, and for another schema, than the ones it knows. */
  check(): void;
  /**
   * Compares a table with the reference that was made for this state; unless it is a dry run, a
   * stall for its sake may be over then.
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
  /** Ends that, or what the hand-over of this epoch holds. */
  release(epoch: number | undefined): void;
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
  /** Appends an entry that says nothing, and answers with its place in the log. */
  barrier(): number;
}

/** The log to the replica. Runs by itself. */
export interface FeedProtocol {
  /** Tries at once what the database did not take. */
  hurry(): void;
  /** A stall is over: read on. */
  resume(): void;
  /** Of a replica that appends alone: reads as far as this entry. */
  readTo(seq: number): void;
}

export interface ClaimantProtocol {
  claim(): void;
  /** The position has come to a record of ours. */
  moved(): void;
}

export interface LeaseKeeperProtocol {
  /** Reads whose the lease is. */
  begin(): void;
  /** Does what is due. */
  go(): void;
  answered(event: KeeperEvent): void;
}

export interface ElectorProtocol {
  event(event: DetectorEvent): void;
  /** Asks whether the primary is there. */
  probe(): void;
  /** Is it lost by now? */
  look(): void;
}

export interface HeartbeatProtocol {
  beat(): void;
  /** Look at the log's identity now. */
  look(): void;
}
