import {
  AntiphonError,
  type AppendResult,
  counterOf,
  type PreparedGroup,
  type PreparedWrite,
  type Rejection,
  sleep,
  toAntiphonError,
  type Verdict,
} from '@antiphon/core';
import { isCreated } from '../state/created.js';
import type { Scope } from '../state/scope.js';
import { notWritable } from '../config/not-writable.js';
import { alarmPublish, endPublishAlarm, isPublishAlarmed } from '../publish/publish-alarm.js';
import { attemptOf, conflictError, outcomeIdOf, type Flight, type Flying } from './flight.js';
import { isSurelyAccepted } from './accepted-time.js';
import { notApplied, notCreated, outOfSync, placeGivenTwice } from './group-refusals.js';
import { firstState, next } from './group-machine.js';
import type { Effect, Facts, GroupEvent, GroupState, Prepared, Request, Step } from './group-states.js';
import { flightOf, isDue, isIdle, isUncertain } from './group-steps.js';
import type { Moment } from './log-trouble.js';
import { OwnSubject } from './own-subject.js';
import { DATABASE_IS_BUSY, NATS_IS_SILENT } from './in-the-way.js';
import type { Sync } from './sync.js';
import type { SyncWrite } from '../state/sync-write.js';
import { performOnWrites } from './write-effects.js';
import { waitsForOthers, WriteQueue } from './write-queue.js';
import { sending, type TracedWrite } from '../tracing/sending.js';

/** Maximum certification conflicts of a write before its caller gets a ConflictError. */
const MAX_CONFLICTS = 10;
const LONGEST_BACKOFF_MS = 32;
/** Behind the end of the log by more than this, a certified write would only be rejected. */
const FAR_BEHIND_ENTRIES = 1000;
const COMMIT_ALARM = 'commit';
/** A group that kept this thread for longer may have cost the connection. */
const DEAF_MS = 2000;
/** Then it is waited for, with the transaction open, for so long. */
const HEARD_AGAIN_MS = 5000;
const HEARD_RETRY_MS = 50;

/**
 * Synchronous writes through the log (docs/architecture.md). What is to be done is decided in
 * group-machine.ts (docs/sync-machine.md); here it is done, in turns of the replica actor.
 */
export class GroupCommitter {
  readonly #queue: WriteQueue;
  readonly #own: OwnSubject;
  readonly #certified: boolean;
  #state: GroupState;
  /** Its transaction is open from `prepare` to the end of the turn, at the latest. */
  #group: PreparedGroup | undefined;
  /** How many wait for the database to begin them. */
  #preparing = 0;
  /** Those that were to run in it. */
  #runners: readonly SyncWrite[] = [];

  constructor(
    private readonly scope: Scope,
    private readonly sync: Sync,
    /** Library writes are held back. */
    private readonly isHeld: () => boolean,
    /** Seals what other programs wrote, and sends it. */
    private readonly seal: () => Promise<unknown>,
  ) {
    this.#queue = new WriteQueue(scope, sync);
    this.#own = new OwnSubject(scope, sync.inTheWay);
    this.#certified = sync.certification !== undefined;
    this.#state = firstState(scope.authority.current().mayWrite && sync.settings.foreignWrites === 'async');
  }

  /** Those that the database has not begun yet are among them: it may wait for a lock for long. */
  get waiting(): number {
    return this.#queue.length + this.#preparing;
  }

  get inFlight(): number {
    return flightOf(this.#state)?.flying.length ?? 0;
  }

  get idle(): boolean {
    return isIdle(this.#state);
  }

  /** What other programs wrote must not be given a counter now. */
  get uncertain(): boolean {
    return isUncertain(this.#state, this.scope.progress.unpublished);
  }

  /** Something may be done at the next turn. */
  get due(): boolean {
    const { clock, progress } = this.scope;
    return isDue(this.#state, {
      nowMs: clock.monotonicMs(),
      waiting: this.#queue.length,
      unpublished: progress.unpublished,
      probes: this.#probes,
    });
  }

  /** Nobody accepts a group of a replica that may not write. */
  get #probes(): boolean {
    const { authority, health } = this.scope;
    return authority.current().mayWrite && isPublishAlarmed(health);
  }

  take(writes: readonly SyncWrite[]): void {
    this.#queue.take(writes);
  }

  /** What waits is written in the next epoch of this replica. */
  handOn(): readonly SyncWrite[] {
    return this.#queue.takeAll();
  }

  /** Makes sure that no earlier attempt can ever take this counter any more. */
  noOpGroup(counter: number): void {
    this.#tell({ type: 'use-up', counter });
  }

  /** An entry of our own subject was read. */
  sawOwn(seq: number): void {
    this.#tell({ type: 'saw-own', seq });
  }

  close(error: AntiphonError): void {
    this.#tell({ type: 'close', error });
  }

  /** Another epoch has begun: what of ours is not in the log before it never counts. */
  deposed(error: AntiphonError): void {
    this.#tell({ type: 'deposed', error });
  }

  /** An own group came out of the log and is committed here. */
  applied(token: string, seq: number, verdict: Verdict | undefined): void {
    this.#tell({ type: 'applied', token, seq, verdict });
  }

  /** An own entry that no replica accepts, this one included. What it was to write is nowhere. */
  refused(seq: number, error: AntiphonError): void {
    this.#tell({ type: 'refused-own', seq, error });
  }

  /** The position has come to `seq`; a group that should have come up before is settled. */
  async passed(seq: number): Promise<void> {
    const { ask } = this.#move({ type: 'passed', seq });
    if (ask !== undefined) this.#tell(await this.#answer(ask));
  }

  /** One group, if nothing is in the way. True when there may be more to do at once. */
  async turn(): Promise<boolean> {
    this.#queue.forgetSettled();
    const wasIdle = this.idle;
    try {
      return (await this.#advance()) && this.#queue.length > 0;
    } finally {
      await this.#end();
      // A hand-over waits for it.
      if (!wasIdle && this.idle) this.scope.progress.moved();
    }
  }

  async #advance(): Promise<boolean> {
    let more = false;
    let ask: Request | undefined = { type: 'look' };
    while (ask !== undefined) {
      const step = this.#move(await this.#answered(ask));
      more ||= step.effects.some(({ type }) => type === 'more');
      const failure = await this.#performAll(step.effects);
      if (failure !== undefined) this.#tell({ type: 'failed', error: failure, at: this.#moment });
      ask = failure === undefined ? step.ask : undefined;
    }
    return more;
  }

  #move(event: GroupEvent): Step {
    const step = next(this.#state, event);
    this.#state = step.state;
    return step;
  }

  /** For what comes from outside, and needs no more than effects. */
  #tell(event: GroupEvent): void {
    for (const effect of this.#move(event).effects) this.#perform(effect);
  }

  /**
   * All of them, also when one fails: writes that one effect tells nothing would be left to their
   * deadlines.
   */
  async #performAll(effects: readonly Effect[]): Promise<AntiphonError | undefined> {
    let failure: AntiphonError | undefined;
    for (const effect of effects) {
      try {
        if (effect.type === 'rollback') await this.#rollback();
        else this.#perform(effect);
      } catch (thrown) {
        failure ??= toAntiphonError(thrown);
      }
    }
    return failure;
  }

  async #rollback(): Promise<void> {
    const group = this.#group;
    this.#group = undefined;
    await group?.rollback();
  }

  /** Whatever the turn did, its transaction does not stay open. */
  async #end(): Promise<void> {
    try {
      await this.#rollback();
    } catch (thrown) {
      this.#tell({ type: 'failed', error: toAntiphonError(thrown), at: this.#moment });
    }
    // Of a turn that a defect ended: what nobody decided is undone.
    for (const write of this.#runners) write.undone();
    this.#runners = [];
  }

  get #moment(): Moment {
    const { clock } = this.scope;
    return { nowMs: clock.monotonicMs(), chance: clock.random() };
  }

  async #answered(ask: Request): Promise<GroupEvent> {
    try {
      return await this.#answer(ask);
    } catch (thrown) {
      this.scope.commits.failed(thrown);
      return { type: 'failed', error: toAntiphonError(thrown), at: this.#moment };
    }
  }

  #answer(ask: Request): GroupEvent | Promise<GroupEvent> {
    const { limits, log } = this.scope;
    switch (ask.type) {
      case 'look':
        return { type: 'turn', facts: this.#facts() };
      case 'choose':
        return { type: 'chosen', writes: this.#queue.choose(limits.writeGroup, log.maxMessageBytes) };
      case 'find-own-end':
        return this.#own.newestSeq().then((seq) => ({ type: 'own-end', seq }));
      case 'read-tail':
        return this.#own.tail(ask.upToSeq).then((tail) => ({ type: 'tail', tail, at: this.#moment }));
      case 'prepare':
        return this.#prepare(ask.writes);
      case 'seal':
        return this.seal().then(() => ({ type: 'sealed' }));
      case 'publish':
        return this.#publish(ask.flight);
      case 'commit':
        return this.#commitInPlace(ask.flight, ask.seq);
      case 'commit-local':
        return this.#commitLocal(ask.flying);
      case 'reserve':
        return this.#reserve(ask.counter, ask.time);
      case 'find-outcome':
        return this.#findOutcome(ask.flight);
    }
  }

  #facts(): Facts {
    const { health, store, positions, progress, recoverOwnUpTo, log, limits, clock, document, id } =
      this.scope;
    const { position, vector } = store.state();
    const ownCounter = counterOf(vector, id);
    return {
      nowMs: clock.monotonicMs(),
      waiting: this.#queue.length,
      unpublished: progress.unpublished,
      probes: this.#probes,
      stopped: health.stopped,
      connected: log.connection === 'connected',
      held: this.isHeld(),
      recovering: ownCounter < recoverOwnUpTo,
      saturated: this.sync.acker.waiting >= limits.waitingWrites,
      farBehind: this.#certified && positions.end - position.seq > FAR_BEHIND_ENTRIES,
      positionSeq: position.seq,
      ownCounter,
      uncreated: isCreated(this.scope) ? undefined : notCreated(document.creator),
      outOfSync: health.complete ? undefined : outOfSync(id, health.obstacle),
    };
  }

  get #opened(): PreparedGroup {
    if (this.#group === undefined) throw new AntiphonError('INTERNAL', 'No group is open. Please report it.');
    return this.#group;
  }

  async #prepare(writes: readonly SyncWrite[]): Promise<GroupEvent> {
    const { store, log, id } = this.scope;
    const token = this.sync.newToken();
    const options = {
      token,
      ...(writes.some(waitsForOthers) ? { reply: this.sync.ackSubject } : {}),
      maxBytes: log.maxMessageBytes,
      certified: this.#certified,
    };
    const requests = writes.map(({ run }) => ({ run }));
    this.#runners = writes;
    const beganMs = this.scope.clock.monotonicMs();
    const preparing = store.prepare(requests, options);
    this.#preparing = writes.length;
    const group = await this.sync.inTheWay
      .during(DATABASE_IS_BUSY, preparing)
      .finally(() => (this.#preparing = 0));
    if (group === undefined) return { type: 'captured' };
    this.#group = group;
    if (this.scope.clock.monotonicMs() - beganMs > DEAF_MS) await this.#heardAgain();
    const sorted = sortOut(group.writes, writes);
    for (const { error } of sorted.failed) this.scope.commits.failed(error);
    const prepared: Prepared = {
      origin: id,
      token,
      ...(group.message && { message: group.message }),
      ...sorted,
      expired: sorted.flying.some(({ write }) => write.expired),
      readSeq: store.state().position.seq,
    };
    return { type: 'prepared', prepared };
  }

  /**
   * A server drops a client that has read nothing for ten seconds (`write_deadline`), and that is
   * noticed only now. What is sent before would be lost, and the group would run again, for as
   * long. On a new connection nothing is sent either before the log is known to be the same.
   */
  async #heardAgain(): Promise<void> {
    const { log, clock, closing } = this.scope;
    const untilMs = clock.monotonicMs() + HEARD_AGAIN_MS;
    const isOver = (): boolean => closing.aborted || clock.monotonicMs() >= untilMs;
    while (!isOver()) {
      const isHeard = await log.identity(closing).then(
        () => log.connection === 'connected',
        () => false,
      );
      if (isHeard) return;
      await sleep(clock, HEARD_RETRY_MS, closing).catch(() => undefined);
    }
  }

  async #publish(flight: Flight): Promise<GroupEvent> {
    const { counters, log, id, authority, cluster } = this.scope;
    const { message } = this.#opened;
    if (message === undefined)
      throw new AntiphonError('INTERNAL', 'A group has no message. Please report it.');
    const { mayWrite, primary } = authority.current();
    // Committed in place here, it would count for nobody else.
    if (!mayWrite) {
      const error = notWritable({ cluster, id, primary });
      return { type: 'refused', error, lastSeqOfOrigin: undefined, at: this.#moment };
    }
    counters.publishedMessages++;
    counters.publishedBytes += message.data.length;
    const writes = flight.flying.flatMap(tracedWriteOf);
    const spans = writes.length === 0 ? undefined : sending(this.scope, writes);
    const request = {
      origin: id,
      id: attemptOf(flight),
      data: message.data,
      expectedLastSeqOfOrigin: flight.after,
      ...(spans && { traces: spans.traces }),
    };
    const answer = new Promise<AppendResult>((settled) => log.append(request, settled));
    const result = await this.sync.inTheWay.during(NATS_IS_SILENT, answer);
    spans?.settled(result);
    if (result.type === 'stored')
      return { type: 'stored', seq: result.seq, accepted: isSurelyAccepted(this.scope) };
    const { error } = result;
    if (result.type === 'unknown') return { type: 'unanswered', error, at: this.#moment };
    return { type: 'refused', error, lastSeqOfOrigin: result.lastSeqOfOrigin, at: this.#moment };
  }

  async #commitInPlace(flight: Flight, seq: number): Promise<GroupEvent> {
    const { document, progress, health, commits } = this.scope;
    try {
      const entry = { seq, attempt: attemptOf(flight) };
      await this.#opened.commit({ generation: document.generation, seq, entry });
      health.clearAlarm(COMMIT_ALARM);
      commits.succeeded();
      this.sync.committedInPlace(seq);
      progress.moved();
      return { type: 'committed' };
    } catch (thrown) {
      commits.failed(thrown);
      return { type: 'commit-failed', error: toAntiphonError(thrown), at: this.#moment };
    }
  }

  async #commitLocal(flying: readonly Flying[]): Promise<GroupEvent> {
    await this.#opened.commit(undefined, () => {
      for (const { write, ran } of flying) write.committed(() => this.sync.result(ran));
    });
    return { type: 'committed' };
  }

  async #reserve(counter: number, time: number | undefined): Promise<GroupEvent> {
    const { store, hybrid } = this.scope;
    if (counter > store.state().lastCounter) await store.resumeFrom(counter, time ?? hybrid.last);
    return { type: 'reserved' };
  }

  async #findOutcome({ origin, firstCounter }: Flight): Promise<GroupEvent> {
    const outcome = await this.scope.store.outcomeOf({ origin, counter: firstCounter });
    return { type: 'outcome', token: outcome?.token };
  }

  #perform(effect: Effect): void {
    const { health, cluster, id } = this.scope;
    const { sync } = this;
    switch (effect.type) {
      case 'put-back':
      case 'wait':
      case 'all-wait':
      case 'give-up':
      case 'all-give-up':
      case 'reject':
      case 'published':
      case 'held':
        return performOnWrites(effect, this.#queue);
      case 'acknowledge':
        return this.#acknowledge(effect.flying, effect.seq);
      case 'run-again':
        return this.#runAgain(effect.flying, effect.rejection);
      case 'not-applied':
        return effect.flight.flying.forEach((one) =>
          one.write.reject(notApplied(effect.seq, outcomeIdOf(effect.flight, one))),
        );
      case 'local-done':
        return effect.flying.forEach(({ write, ran }) => write.complete(sync.result(ran)));
      case 'count':
        sync.counts[effect.what] += effect.by;
        return;
      case 'log-refuses':
        return alarmPublish(health, effect.failures, effect.error, 'synchronous writes');
      case 'log-takes':
        return endPublishAlarm(health);
      case 'commit-alarm':
        return health.alarm(COMMIT_ALARM, effect.message);
      case 'commit-alarm-ends':
        return health.clearAlarm(COMMIT_ALARM);
      case 'stall':
        return health.stall(effect.error);
      case 'place-given-twice':
        return health.stall(placeGivenTwice({ cluster, replica: id, seq: effect.seq }));
      // Only in a turn, which waits for the one and answers with the other.
      case 'rollback':
      case 'more':
    }
  }

  #acknowledge(flying: readonly Flying[], seq: number): void {
    this.scope.counters.writes += flying.length;
    for (const { write, ran } of flying) this.sync.acker.expect(write, seq, this.sync.result(ran, seq));
  }

  #runAgain(flying: Flying, rejection: Rejection | undefined): void {
    const { write } = flying;
    const { clock } = this.scope;
    // What stood behind a rejected one of its group is as good as new.
    if (rejection?.reason !== 'builds-on') {
      write.conflicts++;
      const limitMs = Math.min(LONGEST_BACKOFF_MS, 2 ** (write.conflicts - 1));
      write.notBeforeMs = clock.monotonicMs() + clock.random() * limitMs;
    }
    const error = conflictError(flying, rejection);
    if (write.conflicts < MAX_CONFLICTS) {
      write.waits(error);
      this.#queue.putLast(write);
    } else if (!write.settled) {
      this.sync.counts.conflictErrors++;
      write.reject(error);
    }
  }
}

function tracedWriteOf({ write: { trace }, ran: { id } }: Flying): readonly TracedWrite[] {
  return trace === undefined || id === undefined ? [] : [{ counter: id.counter, trace }];
}

/** What ran, what failed, and what did not fit and comes next. */
function sortOut(
  outcomes: readonly PreparedWrite[],
  writes: readonly SyncWrite[],
): Pick<Prepared, 'flying' | 'failed' | 'leftOut'> {
  const flying: Flying[] = [];
  const failed: { write: SyncWrite; error: unknown }[] = [];
  const leftOut: SyncWrite[] = [];
  for (const [index, write] of writes.entries()) {
    const outcome = outcomes[index];
    write.leftOut = outcome?.type === 'left-out';
    if (outcome?.type === 'ran') flying.push({ write, ran: outcome });
    else if (outcome?.type === 'rejected') failed.push({ write, error: outcome.error });
    else {
      write.alone ||= outcome?.type === 'alone';
      // What it needed once it needs again, also if it did not run this time.
      if (outcome?.type === 'left-out') write.knownBytes = outcome.bytes ?? write.knownBytes;
      leftOut.push(write);
    }
  }
  return { flying, failed, leftOut };
}
