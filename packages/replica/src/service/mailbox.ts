import {
  exposeActor,
  type ActorRef,
  type Behaviour,
  type Exposure,
  type NoReply,
  type Received,
} from '@antiphon/actor';
import {
  AntiphonError,
  type Beat,
  mailboxPrefix,
  sentence,
  newestEpoch,
  type PassedEpoch,
} from '@antiphon/core';
import { cutDetail, type RescueAccess, type RescueDetail, type RescueQuery } from '../failover/rescue.js';
import { ownCandidacy } from '../failover/candidacy.js';
import { switchOver } from '../failover/switch-over.js';
import type { Left, LeaveOptions } from '../membership/leave.js';
import { ownBeat } from '../membership/own-beat.js';
import { takeOver } from '../failover/take-over.js';
import { type RescuedWrite, writeRescued } from '../failover/write-rescued.js';
import { findOutcome } from '../read/outcome.js';
import type { Ping, Standing } from '../state/peer.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { QuarantineAccess, QuarantineQuery } from '../repair/quarantine.js';
import { type ConflictQuery, keptConflicts } from '../repair/kept-conflicts.js';
import { answerBytes } from '../repair/shown-row.js';
import type { Recapturer } from '../repair/recapture.js';
import { removeMember } from '../membership/remove-member.js';
import { ReadPlaces } from '../read/read-places.js';
import { readChecksum, readDigests, readWithPlace, type DigestRequest } from '../read/read.js';
import type { Durable, DurableRequest } from '../sync/acker.js';
import { durableOf } from '../sync/durable.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { lifecycleOf, statusOf, type ReplicaStatus } from '../replica/status.js';
import type { Writer } from '../write/writer.js';
import { COMMANDS, MAX_CHECKSUM_MS, MAX_HOLD_MS } from './mailbox-commands.js';
import { ServedStreams, type StreamRequest } from './served-streams.js';
import type { AskedRequest } from '../write/write-options.js';
import { inContext } from '../tracing/tracer.js';
import { type Served, servedSpans } from '../tracing/served.js';
import type {
  MailboxProtocol,
  QueryRequest,
  RescuedDataRequest,
  RescuedRequest,
  RecaptureRequest,
  ChecksumRequest,
} from './mailbox-protocol.js';

/** Checksums of large tables take long; everything that is asked for has a limit of its own. */
const ANSWER_TIMEOUT_MS = MAX_CHECKSUM_MS + MAX_HOLD_MS;

/**
 * Answers others. It waits for nobody: questions that take long are answered later, beside each
 * other.
 */
export class MailboxActor implements Behaviour<MailboxProtocol> {
  readonly #places: ReadPlaces;
  readonly #streams: ServedStreams;
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
    stream: (request: StreamRequest & Served, _: unknown, message: Later<'stream'>): NoReply => {
      const { context, ...asked } = request;
      return later(
        message,
        inContext(context, () => this.#streams.answer(asked)),
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
    release: (): void => void this.replica.tell('release', undefined),
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
    rescuedData: ({ id, ...piece }: RescuedDataRequest, _: unknown, message: Later<'rescuedData'>): NoReply =>
      later(message, this.scope.store.rescueData(id, { ...piece, maxBytes: answerBytes(this.scope) })),
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
    this.#places = new ReadPlaces(scope, (timeoutMs) => replica.ask('seal', undefined, { timeoutMs }));
    this.#streams = new ServedStreams(scope, this.#places);
  }

  async #rescued({ id, after }: RescuedRequest): Promise<RescueDetail> {
    return cutDetail(this.scope, await this.services.rescue.show(id, { after }), after);
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
