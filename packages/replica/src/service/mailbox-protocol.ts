import type {
  AckLevel,
  Beat,
  Candidacy,
  ChecksumReport,
  GroupOutcome,
  RowDigest,
  PassedEpoch,
  RescueData,
} from '@antiphon/core';
import type {
  ReapplyAnswer,
  RescueDetail,
  RescuedTransaction,
  RescueList,
  RescueQuery,
} from '../failover/rescue.js';
import type { SwitchedOver } from '../failover/switch-over.js';
import type { Left } from '../membership/leave.js';
import type { TakenOver } from '../failover/take-over.js';
import type { RescuedWrite, RescuedWritten } from '../failover/write-rescued.js';
import type { Outcome } from '../read/outcome.js';
import type { Ping, Standing } from '../state/peer.js';
import type { ResendAnswer } from '../state/protocols.js';
import type {
  DiscardAnswer,
  QuarantinedDetail,
  QuarantineList,
  QuarantineQuery,
  RetryAnswer,
} from '../repair/quarantine.js';
import type { ConflictList, ConflictQuery } from '../repair/kept-conflicts.js';
import type { RecaptureResult } from '../repair/recapture.js';
import type { Removal } from '../membership/remove-member.js';
import type { Consistency, DigestRequest, PlacedResult } from '../read/read.js';
import type { Durable, DurableRequest } from '../sync/acker.js';
import type { Params, Statement } from '../write/statement.js';
import type { ReplicaStatus } from '../replica/status.js';
import type { SessionPosition } from '../state/session.js';
import type { WriteResult } from '../state/write-result.js';
import type { StreamPiece, StreamRequest } from './served-streams.js';

/** What anybody may ask of a replica, on `antiphon.<cluster>.replica.<id>.<command>`. */
export interface MailboxProtocol {
  ping(): Ping;
  status(): ReplicaStatus;
  /** Where it stands, cheaply. */
  standing(): Standing;
  /** What it says about itself every second anyway: for those that spread reads. */
  beat(): Beat;
  /** Clients that spread their reads send no new ones here, until `resume`. */
  drain(): void;
  resume(): void;
  /** What it is as the next primary. */
  candidacy(): Candidacy;
  execute(request: {
    readonly statements: readonly Statement[];
    readonly timeoutMs?: number;
    readonly acks?: AckLevel;
    readonly requestId?: string;
    /** By another replica: this one does not send it on. */
    readonly forwarded?: boolean;
    /** The newest one that the other replica knows: in another one nothing is written. */
    readonly epoch?: number;
    /** Names one call, there or of a client: however often it is asked for, it gets one answer. */
    readonly call?: string;
    /** It was asked for this call before, and that may come later. */
    readonly again?: boolean;
    /** So many primaries have lost their role while they had it. */
    readonly lostPrimaries?: number;
    /** Of the last of them: it is not counted again. */
    readonly lostEpoch?: number;
  }): WriteResult<readonly number[]>;
  /** By whoever has forwarded it: this call does not begin any more; what has begun is answered. */
  withdraw(request: { readonly requestId: string; readonly call: string }): void;
  query(request: QueryRequest): PlacedResult;
  /** Rows piece by piece, of one moment; see `StreamRequest`. */
  stream(request: StreamRequest): StreamPiece;
  /** What became of a write; `id` as in an UnknownOutcomeError. */
  outcome(request: { readonly id: string }): Outcome;
  /**
   * Verdicts on synchronous groups in entries from `fromSeq` on, in log order: who reads the log
   * needs them.
   */
  outcomes(request: { readonly fromSeq: number; readonly limit: number }): readonly GroupOutcome[];
  /**
   * The entry of the log up to which everything that is to be applied is in the database and on the
   * disk.
   */
  durable(request: DurableRequest): Durable;
  checksum(request: ChecksumRequest): ChecksumReport;
  rowDigests(request: DigestRequest): readonly RowDigest[];
  /**
   * Whoever misses our transaction with this counter asks for it: it is published again, and all
   * after it.
   */
  resend(request: { readonly from: number }): ResendAnswer;
  /** What was quarantined here, and what is held. */
  quarantine(request: QuarantineQuery): QuarantineList;
  /** One message of it, as far as it can be read. */
  quarantined(request: { readonly seq: number }): readonly QuarantinedDetail[];
  /** Judges messages anew, and tries at once what is held. */
  retry(request: QuarantineQuery): RetryAnswer;
  discard(request: Pick<QuarantineQuery, 'seq'>): DiscardAnswer;
  /** The conflicts that were decided last here, with both rows. */
  conflicts(request: ConflictQuery): ConflictList;
  /**
   * Library writes wait for so long; what was written before is sealed and in the log when the
   * answer comes.
   */
  hold(request: { readonly holdMs: number }): Standing;
  release(): void;
  /** Takes a member that is gone out of the cluster. */
  removeMember(request: { readonly id: string; readonly force: boolean }): Removal;
  /** Makes this replica the primary, whatever the one before has that the log has not. */
  takeOver(request: { readonly timeoutMs: number }): TakenOver;
  /** It leaves the cluster, and ends after the answer. */
  leave(request: { readonly force: boolean; readonly timeoutMs: number }): Left;
  /** Every epoch that this replica has passed, the first one included. */
  epochs(): readonly PassedEpoch[];
  /** What the rescue ledger here has. */
  rescues(request: RescueQuery): RescueList;
  /** One of its transactions, and a page of its changes; long values are cut. */
  rescued(request: RescuedRequest): RescueDetail;
  /** What one of them was to be sent as, in pieces: whoever wants it whole decodes that. */
  rescuedData(request: RescuedDataRequest): RescueData;
  /** Writes one of them again, on the primary. */
  reapplyRescued(request: { readonly id: number; readonly force: boolean }): ReapplyAnswer;
  dismissRescued(request: { readonly id: number }): RescuedTransaction;
  /** Of the primary: writes what a transaction of another replica's ledger had changed. */
  writeRescued(request: RescuedWrite): RescuedWritten;
  /**
   * Of the primary: makes another replica the primary, without a loss. `beforeMs`: by its own
   * clock, as its status says; when it comes later, nobody waits for it, and nothing is done.
   */
  switchOver(request: {
    readonly to: string;
    readonly timeoutMs: number;
    readonly beforeMs?: number;
  }): SwitchedOver;
  /** Finds what changed in a table while nobody captured it, and makes it good unless `dryRun`. */
  recapture(request: RecaptureRequest): RecaptureResult;
}

export interface RescuedRequest {
  readonly id: number;
  /** After so many changes. */
  readonly after: number;
}

export interface RescuedDataRequest {
  readonly id: number;
  /** Of its messages, counted from 0. */
  readonly part: number;
  readonly offset: number;
}

export interface RecaptureRequest {
  readonly table: string;
  readonly dryRun: boolean;
  readonly deleteRows: boolean;
  /** How long the asker waits: then it is ended, unless it is being written. */
  readonly timeoutMs?: number;
}

export interface ChecksumRequest {
  readonly tables?: readonly string[];
  /** How long the asker waits: then they are ended. */
  readonly timeoutMs?: number;
}

export interface QueryRequest {
  readonly sql: string;
  readonly params: Params;
  readonly maxRows: number;
  readonly consistency?: Consistency;
  /** The asker goes on from the place of the answer. */
  readonly placed?: boolean;
  readonly after?: SessionPosition;
  readonly maxLagMs?: number;
  readonly waitMs?: number;
  readonly timeoutMs?: number;
}
