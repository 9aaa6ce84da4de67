import {
  AntiphonError,
  type AppendResult,
  counterOf,
  type PreparedGroup,
  type Rejection,
  toAntiphonError,
  type Verdict,
} from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { attemptOf, conflictError, outcomeIdOf, type Flight, type Flying } from './flight.js';
import { isSurelyAccepted } from './accepted-time.js';
import {
  asRetriable,
  notApplied,
  notFounded,
  outOfStep,
  placeGivenTwice,
  refusedByAll,
  unavailable,
} from './group-refusals.js';
import { LogTrouble } from './log-trouble.js';
import { OwnSubject, type OwnTail } from './own-subject.js';
import { DATABASE_IS_BUSY, NATS_IS_SILENT } from './in-the-way.js';
import type { Sync } from './sync.js';
import type { SyncWrite } from '../state/sync-write.js';
import { waitsForOthers, WriteQueue } from './write-queue.js';

/** Certification may reject a write for a conflict of its own so often before its caller gets ConflictError. */
const MAX_CONFLICTS = 10;
const LONGEST_BACKOFF_MS = 32;
/** Behind the end of the log by more than this, a certified write would only be rejected. */
const FAR_BEHIND_ENTRIES = 1000;
const COMMIT_ALARM = 'commit';

/** No later turn goes better. */
const STALLING: ReadonlySet<string> = new Set(['SCHEMA_DRIFT', 'LOG_REPLACED', 'DUPLICATE_REPLICA']);

/** Of own entries that were refused. */
const KEPT_REFUSALS = 64;

/** Why nothing can be done now. Without an error: it goes on in a moment, and there is nothing to tell anybody. */
type Obstacle = { readonly error?: AntiphonError };

/**
 * Synchronous writes through the log (design, section 5). Everything here happens in turns of the replica
 * actor. At most one group is under way: its message expects the newest entry of our own subject, so a
 * publish that was thought lost and arrives late takes the place of the next one or none, and a counter never
 * stands for two transactions.
 */
export class GroupCommitter {
  readonly #queue: WriteQueue;
  readonly #own: OwnSubject;
  readonly #certified: boolean;
  /** Other programs write too, and number their transactions beside ours. */
  readonly #foreign: boolean;
  #flight: Flight | undefined;
  /** The newest entry of our own subject; undefined: to be asked. */
  #ownSeq: number | undefined;
  /** Counters up to this one are to be used up, by a group without changes if need be. */
  #fenceUpTo = 0;
  /** Own entries that no replica accepts, by their place: a lost attempt may turn out to be one of them. */
  readonly #refusedOwn = new Map<number, AntiphonError>();
  readonly #trouble: LogTrouble;
  /** Why the group in flight, which the log holds, is not in this database yet. */
  #commitFailure: AntiphonError | undefined;
  #working = false;

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
    this.#trouble = new LogTrouble(scope);
    this.#certified = sync.certification !== undefined;
    this.#foreign = scope.authority.current().mayWrite && sync.settings.foreignWrites === 'async';
  }

  get waiting(): number {
    return this.#queue.length;
  }

  get inFlight(): number {
    return this.#flight?.flying.length ?? 0;
  }

  get idle(): boolean {
    return this.#flight === undefined && !this.#working;
  }

  /**
   * Nobody knows which counter comes next, so what other programs wrote must not be given one: an attempt
   * without an answer may have it, also one of a process before this one, until something of ours has come
   * after it.
   */
  get uncertain(): boolean {
    if (!this.#foreign) return false;
    // What is numbered and not published yet was numbered when everything before it was certain.
    if (this.#flight !== undefined) return !this.#flight.reserved;
    return this.#ownSeq === undefined && this.scope.progress.unpublished === 0;
  }

  /** An attempt has got no answer. */
  get #isLost(): boolean {
    return this.#flight !== undefined && this.#flight.seq === undefined;
  }

  /** Something may be done at the next turn. */
  get due(): boolean {
    const { isProbeDue } = this.#trouble;
    return this.#queue.length > 0 || this.#isLost || this.uncertain || this.#fenceUpTo > 0 || isProbeDue;
  }

  take(writes: readonly SyncWrite[]): void {
    this.#queue.take(writes);
  }

  /** Makes sure that no earlier attempt can ever take this counter any more. */
  fence(counter: number): void {
    this.#fenceUpTo = Math.max(this.#fenceUpTo, counter);
  }

  /** An entry of our own subject was read. */
  sawOwn(seq: number): void {
    if (this.#ownSeq !== undefined && seq > this.#ownSeq) this.#ownSeq = seq;
  }

  close(error: AntiphonError): void {
    this.#queue.giveUp(error);
    for (const { write } of this.#flight?.flying ?? []) write.giveUp(error);
  }

  /** One group, if nothing is in the way. True when there may be more to do at once. */
  async turn(): Promise<boolean> {
    const { limits, log, store, condition, id } = this.scope;
    this.#queue.forgetSettled();
    if (!this.due || this.#trouble.pauses) return false;
    const obstacle = this.#obstacle();
    if (obstacle !== undefined) {
      this.#queue.waitFor(obstacle.error);
      return false;
    }
    this.#working = true;
    try {
      if (!(await this.#knowsOwnEnd()) || store.state().position.seq < (this.#ownSeq ?? 0)) return false;
      if (!this.#isFounded) {
        this.#queue.waitFor(notFounded(this.scope.document.creator));
        return false;
      }
      // What was sent is settled all the same, or nobody would get any further.
      if (!condition.complete) this.#queue.waitFor(outOfStep(id, condition.obstacle));
      const writes = condition.complete ? this.#queue.choose(limits.writeGroup, log.maxMessageBytes) : [];
      if (writes.length === 0 && !this.#mustFence() && !this.#trouble.takeProbe()) return false;
      await this.#commitGroup(writes);
      return this.#flight === undefined && this.#queue.length > 0;
    } catch (thrown) {
      this.#failed(toAntiphonError(thrown));
      return false;
    } finally {
      this.#working = false;
    }
  }

  #obstacle(): Obstacle | undefined {
    const { condition, store, progress, ownPastUpTo, log, logEnd, limits } = this.scope;
    const { stopped } = condition;
    if (stopped !== undefined) {
      this.#queue.giveUp(stopped);
      return { error: stopped };
    }
    if (log.connection !== 'connected') return { error: unavailable() };
    if (this.isHeld()) return {};
    // What other programs wrote meanwhile stops the own past from coming in until our counters are certain:
    // that comes first.
    if (progress.ownCounter < ownPastUpTo) return this.uncertain ? undefined : {};
    if (this.#flight !== undefined)
      return this.#isLost || !this.#flight.reserved ? undefined : this.#whyHeld();
    if (progress.unpublished > 0 || this.sync.acker.waiting >= limits.waitingWrites) return {};
    if (this.#certified && logEnd.seq - store.state().position.seq > FAR_BEHIND_ENTRIES) {
      return { error: new AntiphonError('TIMEOUT', 'this replica is still catching up with the log') };
    }
    return undefined;
  }

  /**
   * The group in flight comes back from the log, unless this database does not take it now: what waits behind
   * it is told so.
   */
  #whyHeld(): Obstacle {
    return this.#commitFailure === undefined ? {} : { error: this.#commitFailure };
  }

  /** Whoever wrote before the creator's rows came would be overwritten by them. */
  get #isFounded(): boolean {
    const { document, progress } = this.scope;
    return counterOf(progress.vector, document.creator) >= document.foundingCounter;
  }

  /**
   * Where our own subject ends, and whether an attempt without an answer is there. False: nothing more can be
   * done now.
   */
  async #knowsOwnEnd(): Promise<boolean> {
    if (this.#flight !== undefined) return this.#resolve(this.#flight);
    if (this.#ownSeq !== undefined) return true;
    let ownSeq: number | undefined = await this.#own.newestSeq();
    if (this.#foreign) {
      // Whatever was sent and not answered, by this process or the one before: after this it can't come any more.
      ownSeq = await this.#fence(ownSeq);
      if (ownSeq === undefined) return false;
      await this.#reserve(await this.#own.tail(ownSeq));
    }
    this.#ownSeq = ownSeq;
    return true;
  }

  #mustFence(): boolean {
    if (this.#fenceUpTo > this.scope.progress.ownCounter) return true;
    this.#fenceUpTo = 0;
    return false;
  }

  /** Runs the writes in a transaction that stays open until the log has answered. */
  async #commitGroup(writes: readonly SyncWrite[]): Promise<void> {
    const token = this.sync.newToken();
    let group: PreparedGroup | undefined;
    try {
      group = await this.#prepare(writes, token, writes.some(waitsForOthers));
    } catch (error) {
      this.#queue.putBack(writes);
      throw error;
    }
    if (group === undefined) {
      // Other programs have written meanwhile: that goes first.
      this.#queue.putBack(writes);
      await this.seal();
      return;
    }
    try {
      // The time of one was up while the database was busy: its caller was told that nothing was written.
      if (writes.some(({ settled }) => settled)) return this.#queue.putBack(writes);
      const flying = this.#sortOut(group, writes);
      if (group.message === undefined) await this.#commitUnreplicated(group, flying);
      else await this.#publish(group, group.message, flying, token);
    } finally {
      await group.rollback();
    }
  }

  #prepare(
    writes: readonly SyncWrite[],
    token: string,
    replies: boolean,
  ): Promise<PreparedGroup | undefined> {
    const { store, log } = this.scope;
    const options = {
      token,
      ...(replies ? { reply: this.sync.ackSubject } : {}),
      maxBytes: log.maxMessageBytes,
      certified: this.#certified,
    };
    const requests = writes.map(({ run }) => ({ run }));
    return this.sync.inTheWay.during(DATABASE_IS_BUSY, store.prepare(requests, options));
  }

  /** What ran. What failed is told so, and what did not fit comes next. */
  #sortOut(group: PreparedGroup, writes: readonly SyncWrite[]): Flying[] {
    const flying: Flying[] = [];
    const leftOut: SyncWrite[] = [];
    for (const [index, write] of writes.entries()) {
      const prepared = group.writes[index];
      if (prepared?.type === 'ran') flying.push({ write, ran: prepared });
      else if (prepared?.type === 'rejected') write.reject(prepared.error);
      else {
        write.alone ||= prepared?.type === 'alone';
        if (prepared?.type === 'left-out') write.knownBytes = prepared.bytes ?? 0;
        leftOut.push(write);
      }
    }
    this.#queue.putBack(leftOut);
    return flying;
  }

  /** Nothing that is replicated changed: it concerns this database only. */
  async #commitUnreplicated(group: PreparedGroup, flying: readonly Flying[]): Promise<void> {
    // Whoever loses patience while the database is busy with what a commit leaves behind is told the truth.
    for (const { write, ran } of flying) write.committed(() => this.sync.result(ran));
    try {
      await group.commit();
    } catch (error) {
      for (const { write } of flying) write.waits();
      this.#queue.putBack(flying.map(({ write }) => write));
      throw error;
    }
    for (const { write, ran } of flying) write.complete(this.sync.result(ran));
  }

  async #publish(
    group: PreparedGroup,
    message: NonNullable<PreparedGroup['message']>,
    flying: readonly Flying[],
    token: string,
  ): Promise<void> {
    const { store, id } = this.scope;
    const { firstCounter, lastCounter } = message;
    const readSeq = store.state().position.seq;
    const after = this.#ownSeq ?? 0;
    const flight: Flight = {
      origin: id,
      token,
      firstCounter,
      lastCounter,
      flying,
      after,
      seq: undefined,
      reserved: false,
    };
    for (const one of flying) one.write.published(outcomeIdOf(flight, one));
    const result = await this.#append(flight, message.data);
    if (result.type === 'stored') return this.#stored(group, flight, result.seq, readSeq);
    await group.rollback();
    if (result.type === 'unknown') this.#lost(flight, result.error);
    else this.#refused(flight, result);
  }

  #append(flight: Flight, data: Uint8Array): Promise<AppendResult> {
    const { log, id, condition } = this.scope;
    condition.totals.publishedMessages++;
    condition.totals.publishedBytes += data.length;
    const request = {
      origin: id,
      id: attemptOf(flight),
      data,
      expectedLastSeqOfOrigin: flight.after,
    };
    const result = new Promise<AppendResult>((settled) => log.append(request, settled));
    return this.sync.inTheWay.during(NATS_IS_SILENT, result);
  }

  /**
   * The log has it: it is decided, here as everywhere. Right after what we had read, nothing can stand
   * against it.
   */
  async #stored(group: PreparedGroup, flight: Flight, seq: number, readSeq: number): Promise<void> {
    this.#ownSeq = seq;
    this.#taken();
    flight.seq = seq;
    if (seq <= readSeq) return this.#regressed(flight, seq);
    // Anything else in between may be another attempt of ours, or change the verdict: then it is applied in its turn.
    if (seq === readSeq + 1 && isSurelyAccepted(this.scope)) {
      try {
        await this.#commitInPlace(group, seq, flight);
        this.#committed(flight.flying, seq);
        return;
      } catch (error) {
        // A full or failing disk: the log brings it back, until it goes in.
        const failure = toAntiphonError(error);
        const message = `a write that the log holds is not in the database yet: ${failure.message}`;
        this.scope.condition.alarm(COMMIT_ALARM, message);
        this.#commitFailure = new AntiphonError(failure.code, message, { cause: failure });
        for (const { write } of flight.flying) write.held(this.#commitFailure);
        if (failure.code === 'DUPLICATE_REPLICA') this.scope.condition.stall(failure);
      }
    }
    this.#flight = flight;
    await group.rollback();
    await this.#reserveOf(flight, this.scope.hybrid.last);
  }

  /** I14: a place that the log had already given away. What is in it now is not this cluster's log. */
  #regressed(flight: Flight, seq: number): void {
    const { condition, cluster, id } = this.scope;
    this.#flight = flight;
    condition.stall(placeGivenTwice({ cluster, replica: id, seq }));
  }

  async #commitInPlace(group: PreparedGroup, seq: number, flight: Flight): Promise<void> {
    const { document, progress, condition } = this.scope;
    const entry = { seq, attempt: attemptOf(flight) };
    await group.commit({ generation: document.generation, seq, entry });
    condition.clearAlarm(COMMIT_ALARM);
    this.sync.committedInPlace(seq);
    progress.moved(seq);
  }

  #committed(flying: readonly Flying[], seq: number): void {
    this.scope.condition.totals.writes += flying.length;
    for (const { write, ran } of flying) this.sync.acker.expect(write, seq, this.sync.result(ran, seq));
  }

  /** No answer: it may be stored, now or later. Resolved before anything else is published or gets a counter. */
  #lost(flight: Flight, error: AntiphonError): void {
    this.#flight = flight;
    this.sync.counts.unknown++;
    this.#trouble.refused(error);
    this.#trouble.backOff();
  }

  #refused(flight: Flight, { error, lastSeqOfOrigin }: Extract<AppendResult, { type: 'refused' }>): void {
    const writes = flight.flying.map(({ write }) => write);
    // Certainly not stored: whatever comes, they are not in doubt.
    for (const write of writes) write.waits();
    this.#queue.putBack(writes);
    const late = lastSeqOfOrigin !== undefined && lastSeqOfOrigin > flight.after;
    // Something of ours came in late: it is applied first. Where other programs write too, or when nobody
    // knows, it is asked again.
    this.#ownSeq = late && !this.#foreign ? lastSeqOfOrigin : undefined;
    if (late) return;
    this.#trouble.refused(error);
    // The log takes less than it did when the group was made: the next one is made for that.
    this.#failed(error.code === 'MESSAGE_TOO_LARGE' ? asRetriable(error) : error);
  }

  /**
   * Is the attempt without an answer in the log? That an entry of ours came after it was sent proves nothing:
   * it may be an older attempt that was late as well, and counts for nobody. The attempt is dead once another
   * group has its counters, in the order of the log; if there is none yet, an empty group takes them.
   */
  async #resolve(flight: Flight): Promise<boolean> {
    if (flight.seq !== undefined) {
      // It was busy when this was tried first.
      await this.#reserveOf(flight, this.scope.hybrid.last);
      return false;
    }
    let ownSeq = await this.#own.newestSeq();
    let tail = await this.#own.tail(ownSeq);
    if (tail.counter < flight.firstCounter) {
      const fenceSeq = await this.#fence(ownSeq);
      if (fenceSeq === undefined || this.#flight !== flight) return false;
      ownSeq = fenceSeq;
      tail = await this.#own.tail(ownSeq);
      if (tail.counter < flight.firstCounter) return false;
    }
    await this.#reserve(tail);
    this.#ownSeq = ownSeq;
    const seq = tail.groups.get(flight.token);
    if (seq === undefined) this.#dead(flight);
    else {
      flight.seq = seq;
      flight.reserved = true;
    }
    return seq === undefined;
  }

  /** An empty group. Returns its place in the log; undefined when nobody can tell whether it is there. */
  async #fence(after: number): Promise<number | undefined> {
    const token = this.sync.newToken();
    const group = await this.#prepare([], token, false);
    if (group === undefined) return undefined;
    try {
      if (group.message === undefined) return undefined;
      const { origin, firstCounter, lastCounter } = { ...group.message, origin: this.scope.id };
      const fence = {
        origin,
        token,
        firstCounter,
        lastCounter,
        flying: [],
        after,
        seq: undefined,
        reserved: false,
      };
      const readSeq = this.scope.store.state().position.seq;
      const result = await this.#append(fence, group.message.data);
      if (result.type !== 'stored') return undefined;
      if (result.seq === readSeq + 1 && isSurelyAccepted(this.scope))
        await this.#commitInPlace(group, result.seq, fence);
      return result.seq;
    } finally {
      await group.rollback();
    }
  }

  /** Nothing else of ours can take its counters: when it was published, everything before it was settled. */
  async #reserveOf(flight: Flight, time: number): Promise<void> {
    await this.#reserve({ counter: flight.lastCounter, time });
    flight.reserved = true;
  }

  /**
   * Where other programs write too, what they wrote is numbered after what the log has of us and this
   * database has not. Not after attempts that count for nobody: their numbers would never come, and everybody
   * would wait for them.
   */
  async #reserve({ counter, time }: Pick<OwnTail, 'counter' | 'time'>): Promise<void> {
    const { store } = this.scope;
    if (!this.#foreign || counter <= store.state().lastCounter) return;
    await store.resumeFrom(counter, time);
  }

  /** It is certain that the log will never have it. */
  #dead(flight: Flight): void {
    this.#flight = undefined;
    this.#taken();
    const writes = flight.flying.map(({ write }) => write);
    for (const write of writes) write.waits(unavailable());
    this.#queue.putBack(writes);
  }

  /** An own group came out of the log and is committed here. */
  applied(token: string, seq: number, verdict: Verdict | undefined): void {
    const flight = this.#flight;
    if (flight?.token !== token) return;
    this.#flight = undefined;
    this.#taken();
    this.scope.condition.clearAlarm(COMMIT_ALARM);
    this.#ownSeq = Math.max(seq, this.#ownSeq ?? 0);
    const rejections = new Map(verdict?.rejected.map((rejection) => [rejection.counter, rejection]));
    if (rejections.size === 0) return this.#committed(flight.flying, seq);
    this.sync.counts.certificationRejected += rejections.size;
    // Everything from the first rejected one on is rejected: it may have read what is not there.
    const first = Math.min(...rejections.keys());
    const isKept = ({ ran }: Flying): boolean => (ran.id?.counter ?? first) < first;
    this.#committed(flight.flying.filter(isKept), seq);
    for (const flying of flight.flying) {
      if (!isKept(flying)) this.#again(flying, rejections.get(flying.ran.id?.counter ?? first));
    }
  }

  /** An own entry that no replica accepts, this one included. What it was to write is nowhere. */
  refused(seq: number, error: AntiphonError): void {
    const flight = this.#flight;
    if (flight?.seq !== seq) {
      this.#refusedOwn.set(seq, error);
      if (this.#refusedOwn.size > KEPT_REFUSALS)
        this.#refusedOwn.delete(Math.min(...this.#refusedOwn.keys()));
      return;
    }
    this.#flight = undefined;
    for (const { write } of flight.flying) write.reject(refusedByAll(error));
  }

  /** The position has come to `seq`; a group that should have come up before is settled. */
  async passed(seq: number): Promise<void> {
    const flight = this.#flight;
    if (flight?.seq === undefined || flight.seq > seq) return;
    const { store, id } = this.scope;
    const outcome = await store.outcomeOf({ origin: id, counter: flight.firstCounter });
    // Its counter went to another attempt that came before it in the log: every replica has passed it over.
    if (outcome !== undefined && outcome.token !== flight.token) return this.#dead(flight);
    const refusal = this.#refusedOwn.get(flight.seq);
    if (refusal !== undefined) return this.refused(flight.seq, refusal);
    this.#flight = undefined;
    this.scope.condition.clearAlarm(COMMIT_ALARM);
    for (const one of flight.flying) {
      one.write.reject(notApplied(flight.seq, outcomeIdOf(flight, one)));
    }
  }

  #again(flying: Flying, rejection: Rejection | undefined): void {
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

  /** Something of ours is in the log, or has a place there that nothing else can take. */
  #taken(): void {
    this.#commitFailure = undefined;
    this.#trouble.over();
  }

  #failed(error: AntiphonError): void {
    if (error.retriable) this.#queue.waitFor(error);
    else this.#queue.giveUp(error);
    if (STALLING.has(error.code)) this.scope.condition.stall(error);
    this.#trouble.backOff();
  }
}
