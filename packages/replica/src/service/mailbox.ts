import {
  exposeActor,
  type ActorRef,
  type Behaviour,
  type Exposure,
  type NoReply,
  type Received,
  type RemoteCommands,
} from '@antiphon/actor';
import {
  type AckLevel,
  AntiphonError,
  type Beat,
  type Candidacy,
  type ChecksumReport,
  type GroupOutcome,
  isRecord,
  mailboxPrefix,
  parseAcks,
  type RowDigest,
  type Value,
  sentence,
  newestEpoch,
  type PassedEpoch,
} from '@antiphon/core';
import type {
  ReapplyAnswer,
  RescueAccess,
  RescueDetail,
  RescuedTransaction,
  RescueList,
  RescueQuery,
} from '../failover/rescue.js';
import { withCutValues } from '../failover/rescue-values.js';
import { ownCandidacy } from '../failover/candidacy.js';
import { switchOver, type SwitchedOver } from '../failover/switch-over.js';
import type { Left, LeaveOptions } from '../membership/leave.js';
import { ownBeat } from '../membership/own-beat.js';
import { takeOver, type TakenOver } from '../failover/take-over.js';
import { type RescuedWrite, type RescuedWritten, writeRescued } from '../failover/write-rescued.js';
import { findOutcome, parseOutcomeRequest, type Outcome } from '../read/outcome.js';
import type { Ping, Standing } from '../state/peer.js';
import type { ReplicaProtocol, ResendAnswer } from '../state/protocols.js';
import type {
  DiscardAnswer,
  QuarantineAccess,
  QuarantinedDetail,
  QuarantineList,
  QuarantineQuery,
  RetryAnswer,
} from '../repair/quarantine.js';
import { type ConflictList, type ConflictQuery, keptConflicts } from '../repair/kept-conflicts.js';
import { parseRecapture, type Recapturer, type RecaptureResult } from '../repair/recapture.js';
import { parseRemoval, removeMember, type Removal } from '../membership/remove-member.js';
import { ReadPlaces } from '../read/read-places.js';
import {
  readChecksum,
  readDigests,
  readWithPlace,
  type Consistency,
  type DigestRequest,
  type PlacedResult,
} from '../read/read.js';
import type { Durable, DurableRequest } from '../sync/acker.js';
import { durableOf } from '../sync/durable.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { assertRequestId } from '../write/request-id.js';
import { bad, parseParams, parseStatements, type Params, type Statement } from '../write/statement.js';
import { lifecycleOf, statusOf, type ReplicaStatus } from '../replica/status.js';
import { parseSessionToken, type SessionPosition } from '../state/session.js';
import type { WriteResult } from '../state/write-result.js';
import type { Writer } from '../write/writer.js';
import type { AskedRequest } from '../write/write-options.js';
import { inContext } from '../tracing/tracer.js';
import { type Served, servedSpans } from '../tracing/served.js';

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
  /** One of its transactions, and a page of its changes; long values are cut unless `whole`. */
  rescued(request: RescuedRequest): RescueDetail;
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
  readonly whole: boolean;
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
  readonly after?: SessionPosition;
  readonly maxLagMs?: number;
  readonly waitMs?: number;
  readonly timeoutMs?: number;
}

const MAX_QUERY_ROWS = 10_000;
const MAX_DIGESTS = 5000;
const MAX_OUTCOMES = 1000;
const MAX_HOLD_MS = 60_000;
const MAX_EXECUTE_MS = 300_000;
const CALL = /^[0-9a-f-]{36}$/;
const DEFAULT_TAKE_OVER_MS = 10_000;
const MAX_CHECKSUM_MS = 24 * 3600 * 1000;
/** Checksums of large tables take long; everything that is asked for has a limit of its own. */
const ANSWER_TIMEOUT_MS = MAX_CHECKSUM_MS + MAX_HOLD_MS;

/**
 * Answers others. It waits for nobody: questions that take long are answered later, beside each
 * other.
 */
export class MailboxActor implements Behaviour<MailboxProtocol> {
  readonly #places: ReadPlaces;
  readonly receive = {
    ping: (): Ping => {
      const { id, instance, startedAtMs, health, closing } = this.scope;
      // It still sends what it has, and begins nothing new.
      const lifecycle = closing.aborted && !health.ended ? 'closing' : lifecycleOf(this.scope);
      return { id, instance, startedAtMs, lifecycle };
    },
    status: (): ReplicaStatus => statusOf(this.scope),
    standing: (): Standing => this.#standing(),
    beat: (): Beat => ownBeat(this.scope),
    drain: (): void => this.scope.serving.drain(),
    resume: (): void => this.scope.serving.resume(),
    candidacy: (_: unknown, __: unknown, message: Later<'candidacy'>): NoReply =>
      later(message, ownCandidacy(this.scope, this.replica)),
    execute: (
      request: Parameters<MailboxProtocol['execute']>[0],
      _: unknown,
      message: Later<'execute'>,
    ): NoReply => {
      const { statements, timeoutMs, acks, requestId, ...asked }: typeof request & AskedRequest = request;
      const options = {
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(acks !== undefined && { acks }),
        ...(requestId !== undefined && { requestId }),
      };
      return later(
        message,
        inContext(asked.context, () => this.writer.execute(statements, options, asked)),
      );
    },
    withdraw: ({ requestId, call }: { requestId: string; call: string }): void =>
      this.writer.withdraw(requestId, call),
    query: (request: QueryRequest, _: unknown, message: Later<'query'>): NoReply => {
      const { sql, params, context, ...options }: QueryRequest & Served = request;
      return later(
        message,
        inContext(context, () => readWithPlace(this.scope, this.#places, sql, params, options)),
      );
    },
    outcome: ({ id }: { id: string }, _: unknown, message: Later<'outcome'>): NoReply =>
      later(message, findOutcome(this.scope, this.replica, id)),
    outcomes: (
      { fromSeq, limit }: { fromSeq: number; limit: number },
      _: unknown,
      message: Later<'outcomes'>,
    ): NoReply => later(message, this.scope.store.outcomes(fromSeq, limit)),
    durable: ({ origin }: DurableRequest): Durable => {
      const { log, health, id } = this.scope;
      // A position says nothing about a log that is another one, or that nobody has compared yet
      // (I14).
      if (!log.isTrusted || !health.replicating) throw notReplicating(id, health.stalled?.message);
      return durableOf(this.scope, this.scope.positions, origin);
    },
    checksum: ({ tables, timeoutMs }: ChecksumRequest, _: unknown, message: Later<'checksum'>): NoReply =>
      later(message, readChecksum(this.scope, tables, timeoutMs)),
    rowDigests: (request: DigestRequest, _: unknown, message: Later<'rowDigests'>): NoReply =>
      later(message, readDigests(this.scope, request)),
    resend: ({ from }: { from: number }, _: unknown, message: Later<'resend'>): NoReply =>
      later(message, this.replica.ask('resend', from)),
    quarantine: (query: QuarantineQuery, _: unknown, message: Later<'quarantine'>): NoReply =>
      later(message, this.services.quarantine.list(query)),
    quarantined: ({ seq }: { seq: number }, _: unknown, message: Later<'quarantined'>): NoReply =>
      later(message, this.services.quarantine.show(seq)),
    retry: (query: QuarantineQuery, _: unknown, message: Later<'retry'>): NoReply =>
      later(message, this.services.quarantine.retry(query)),
    discard: (query: Pick<QuarantineQuery, 'seq'>, _: unknown, message: Later<'discard'>): NoReply =>
      later(message, this.services.quarantine.discard(query)),
    conflicts: (query: ConflictQuery, _: unknown, message: Later<'conflicts'>): NoReply =>
      later(message, keptConflicts(this.scope, query)),
    hold: ({ holdMs }: { holdMs: number }, _: unknown, message: Later<'hold'>): NoReply =>
      later(message, this.#hold(holdMs)),
    release: (): void => void this.replica.tell('release'),
    removeMember: (
      { id, force }: { id: string; force: boolean },
      _: unknown,
      message: Later<'removeMember'>,
    ): NoReply => later(message, removeMember(this.scope, id, { force })),
    leave: (options: LeaveOptions, _: unknown, message: Later<'leave'>): NoReply =>
      later(message, this.services.leave(options)),
    takeOver: ({ timeoutMs }: { timeoutMs: number }, _: unknown, message: Later<'takeOver'>): NoReply =>
      later(message, takeOver(this.scope, this.replica, 'forced', { timeoutMs })),
    epochs: (): readonly PassedEpoch[] => this.scope.store.state().epochs,
    rescues: (query: RescueQuery, _: unknown, message: Later<'rescues'>): NoReply =>
      later(message, this.services.rescue.list(query)),
    rescued: (request: RescuedRequest, _: unknown, message: Later<'rescued'>): NoReply =>
      later(message, this.#rescued(request)),
    reapplyRescued: (
      { id, force }: { id: number; force: boolean },
      _: unknown,
      message: Later<'reapplyRescued'>,
    ): NoReply => later(message, this.services.rescue.reapply(id, { force })),
    dismissRescued: ({ id }: { id: number }, _: unknown, message: Later<'dismissRescued'>): NoReply =>
      later(message, this.services.rescue.dismiss(id)),
    writeRescued: (request: RescuedWrite, _: unknown, message: Later<'writeRescued'>): NoReply =>
      later(message, writeRescued(this.scope, this.writer, request)),
    switchOver: (
      { to, timeoutMs, beforeMs = Infinity }: { to: string; timeoutMs: number; beforeMs?: number },
      _: unknown,
      message: Later<'switchOver'>,
    ): NoReply => {
      const { clock, id } = this.scope;
      if (clock.nowMs() > beforeMs) throw tooLate(id, to);
      return later(message, switchOver(this.scope, this.replica, to, { timeoutMs }));
    },
    recapture: ({ table, ...options }: RecaptureRequest, _: unknown, message: Later<'recapture'>): NoReply =>
      later(message, this.services.recapturer.recapture(table, options)),
  };

  constructor(
    private readonly scope: ReplicaScope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly writer: Writer<unknown>,
    private readonly services: {
      readonly quarantine: QuarantineAccess;
      readonly recapturer: Recapturer;
      readonly rescue: RescueAccess;
      readonly leave: (options: LeaveOptions) => Promise<Left>;
    },
  ) {
    this.#places = new ReadPlaces(scope, () => replica.ask('seal'));
  }

  async #rescued({ id, after, whole }: RescuedRequest): Promise<RescueDetail> {
    const detail = await this.services.rescue.show(id, { after });
    return whole ? detail : { ...detail, shown: detail.shown.map(withCutValues) };
  }

  async #hold(holdMs: number): Promise<Standing> {
    await this.replica.ask('hold', holdMs);
    await this.replica.ask('seal');
    const { progress, sync } = this.scope;
    await progress.until(() => progress.unpublished === 0 && sync?.standing().idle !== false, {
      timeoutMs: holdMs,
      what: 'everything is published',
    });
    return this.#standing();
  }

  #standing(): Standing {
    const { store, positions } = this.scope;
    const state = store.state();
    const { position, vector, lastCounter, publishedCounter, partial } = state;
    const { number, primary, instance, seq } = newestEpoch(state);
    return {
      seq: positions.passed,
      generation: position.generation,
      ...(position.entry && { entry: position.entry }),
      vector,
      lastCounter,
      publishedCounter,
      partial,
      ...(number > 0 && { epoch: { number, primary, instance, seq } }),
    };
  }
}

function notReplicating(id: string, why = 'The connection to its log is new.'): AntiphonError {
  return new AntiphonError('LOG_UNAVAILABLE', `Replica ${id} acknowledges nothing. ${sentence(why)}`, {
    context: { replica: id },
  });
}

function tooLate(id: string, to: string): AntiphonError {
  return new AntiphonError(
    'TIMEOUT',
    `Replica ${id} was kept, by a long write for example, and read the question too late. ` +
      `It stays the primary. Ask again to hand over to ${to}.`,
    { context: { replica: id } },
  );
}

type Later<K extends keyof MailboxProtocol & string> = Received<MailboxProtocol, K>;

function later<K extends keyof MailboxProtocol & string>(
  message: Later<K>,
  answer: Promise<Awaited<ReturnType<MailboxProtocol[K]>>>,
): NoReply {
  answer.then(
    (value) => message.reply(value as never),
    (error: unknown) => message.reject(error instanceof Error ? error : new Error(String(error))),
  );
  return message.defer();
}

export function exposeMailbox(scope: ReplicaScope, mailbox: ActorRef<MailboxProtocol>): Exposure {
  return exposeActor(mailbox, scope.bus, mailboxPrefix(scope.cluster, scope.id), COMMANDS, {
    timeoutMs: ANSWER_TIMEOUT_MS,
    bundles: { commands: ['query'], clock: scope.clock },
    around: servedSpans(scope),
  });
}

const COMMANDS: RemoteCommands<MailboxProtocol> = {
  ping: () => undefined,
  status: () => undefined,
  standing: () => undefined,
  beat: () => undefined,
  drain: () => undefined,
  resume: () => undefined,
  candidacy: () => undefined,
  durable: (input) => ({ origin: String(record(input)['origin']) }),
  outcomes: (input) => ({
    fromSeq: whole('fromSeq', record(input)['fromSeq'], Number.MAX_SAFE_INTEGER),
    limit: whole('limit', record(input)['limit'], MAX_OUTCOMES),
  }),
  outcome: (input) => ({ id: parseOutcomeRequest(record(input)['id']) }),
  release: () => undefined,
  removeMember: (input) => parseRemoval(record(input)),
  leave: (input) => {
    const { force, timeoutMs = DEFAULT_TAKE_OVER_MS } = record(input);
    return { force: force === true, timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) };
  },
  takeOver: (input) => ({
    timeoutMs: whole('timeoutMs', record(input)['timeoutMs'] ?? DEFAULT_TAKE_OVER_MS, MAX_EXECUTE_MS),
  }),
  epochs: () => undefined,
  rescues: (input) => parseRescueQuery(input),
  rescued: (input) => {
    const { id, after, whole: isWhole } = record(input);
    return {
      id: whole('id', id, Number.MAX_SAFE_INTEGER),
      after: from0('after', after),
      whole: isWhole === true,
    };
  },
  reapplyRescued: (input) => {
    const { id, force } = record(input);
    return { id: whole('id', id, Number.MAX_SAFE_INTEGER), force: force === true };
  },
  dismissRescued: (input) => ({ id: whole('id', record(input)['id'], Number.MAX_SAFE_INTEGER) }),
  writeRescued: (input) => {
    const { data, force } = record(input);
    if (!(data instanceof Uint8Array)) throw bad('data', 'the changes of a transaction');
    return { data, force: force === true };
  },
  switchOver: (input) => {
    const { to, timeoutMs = DEFAULT_TAKE_OVER_MS, beforeMs } = record(input);
    if (typeof to !== 'string') throw bad('to', 'the id of a replica');
    return {
      ...{ to, timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) },
      ...(beforeMs !== undefined && { beforeMs: whole('beforeMs', beforeMs, Number.MAX_SAFE_INTEGER) }),
    };
  },
  recapture: (input) => parseRecapture(record(input)),
  execute: (input) => {
    const request = record(input);
    const { timeoutMs, acks, requestId, forwarded, epoch, call, again } = request;
    const { lostPrimaries, lostEpoch } = request;
    if (requestId !== undefined) assertRequestId(requestId);
    return {
      statements: parseStatements(request['statements']),
      ...(timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) }),
      ...(acks === undefined || acks === null ? {} : { acks: parseAcks(acks) }),
      ...(requestId === undefined ? {} : { requestId }),
      ...(forwarded === true && { forwarded }),
      ...(epoch === undefined ? {} : { epoch: whole('epoch', epoch, Number.MAX_SAFE_INTEGER) }),
      ...(call === undefined ? {} : { call: callName(call), again: again === true }),
      ...(lostPrimaries === undefined ? {} : { lostPrimaries: from0('lostPrimaries', lostPrimaries) }),
      ...(lostEpoch === undefined ? {} : { lostEpoch: from0('lostEpoch', lostEpoch) }),
    };
  },
  withdraw: (input) => {
    const { requestId, call } = record(input);
    assertRequestId(requestId);
    return { requestId, call: callName(call) };
  },
  query: (input) => {
    const request = record(input);
    if (typeof request['sql'] !== 'string') throw bad('sql', 'a statement');
    const maxRows = whole('maxRows', request['maxRows'] ?? MAX_QUERY_ROWS, MAX_QUERY_ROWS);
    const { consistency, after, maxLagMs, waitMs, timeoutMs } = request;
    return {
      sql: request['sql'],
      params: parseParams(request['params']),
      maxRows,
      ...(consistency === undefined ? {} : { consistency: parseConsistency(consistency) }),
      ...(after === undefined ? {} : { after: parseSessionToken(after) }),
      ...(maxLagMs === undefined ? {} : { maxLagMs: whole('maxLagMs', maxLagMs, MAX_EXECUTE_MS) }),
      ...(waitMs === undefined ? {} : { waitMs: whole('waitMs', waitMs, MAX_EXECUTE_MS) }),
      ...(timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) }),
    };
  },
  checksum: (input) => {
    const { tables, timeoutMs } = record(input ?? {});
    const limit =
      timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_CHECKSUM_MS) };
    if (tables === undefined) return limit;
    if (!Array.isArray(tables) || !tables.every((table): table is string => typeof table === 'string')) {
      throw bad('tables', 'a list of table names');
    }
    return { tables, ...limit };
  },
  rowDigests: (input) => {
    const request = record(input);
    const { table, afterKey } = request;
    if (typeof table !== 'string') throw bad('table', 'a table name');
    const limit = whole('limit', request['limit'], MAX_DIGESTS);
    if (afterKey === undefined || afterKey === null) return { table, limit };
    const key = parseParams(afterKey);
    if (!Array.isArray(key)) throw bad('afterKey', 'a list of key values');
    return { table, limit, afterKey: key as readonly Value[] };
  },
  resend: (input) => ({ from: whole('from', record(input)['from'], Number.MAX_SAFE_INTEGER) }),
  quarantine: parseQuarantineQuery,
  quarantined: (input) => ({ seq: whole('seq', record(input)['seq'], Number.MAX_SAFE_INTEGER) }),
  retry: parseQuarantineQuery,
  discard: parseQuarantineQuery,
  conflicts: (input) => {
    const { beforeId } = record(input ?? {});
    return beforeId === undefined ? {} : { beforeId: whole('beforeId', beforeId, Number.MAX_SAFE_INTEGER) };
  },
  hold: (input) => ({ holdMs: whole('holdMs', record(input)['holdMs'], MAX_HOLD_MS) }),
};

function parseQuarantineQuery(input: unknown): QuarantineQuery {
  const { seq, afterId } = record(input ?? {});
  return {
    ...(seq === undefined ? {} : { seq: whole('seq', seq, Number.MAX_SAFE_INTEGER) }),
    ...(afterId === undefined ? {} : { afterId: whole('afterId', afterId, Number.MAX_SAFE_INTEGER) }),
  };
}

function parseRescueQuery(input: unknown): RescueQuery {
  const { afterId, state } = record(input ?? {});
  if (state !== undefined && state !== 'kept' && state !== 'reapplied' && state !== 'dismissed')
    throw bad('state', "'kept', 'reapplied' or 'dismissed'");
  return {
    ...(afterId === undefined ? {} : { afterId: whole('afterId', afterId, Number.MAX_SAFE_INTEGER) }),
    ...(state === undefined ? {} : { state }),
  };
}

function parseConsistency(input: unknown): Consistency {
  if (input === 'any' || input === 'bounded' || input === 'session' || input === 'strong') return input;
  throw bad('consistency', "'any', 'bounded', 'session' or 'strong'");
}

function record(input: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(input)) return input;
  throw bad('the request', 'a map');
}

function callName(input: unknown): string {
  if (typeof input === 'string' && CALL.test(input)) return input;
  throw bad('call', 'the id of a call');
}

function from0(name: string, input: unknown): number {
  return input === undefined || input === 0 ? 0 : whole(name, input, Number.MAX_SAFE_INTEGER);
}

function whole(name: string, input: unknown, max: number): number {
  const number = typeof input === 'bigint' ? Number(input) : input;
  if (typeof number === 'number' && Number.isInteger(number) && number > 0 && number <= max) return number;
  throw bad(name, `a whole number from 1 to ${max}`);
}
