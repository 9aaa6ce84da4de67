import fc from 'fast-check';
import { AntiphonError, UnknownOutcomeError } from '@antiphon/core';
import type { Scope } from '../state/scope.js';
import { SyncWrite } from '../state/sync-write.js';
import { firstState, GROUP_TABLE, next, type GroupTable } from '../sync/group-machine.js';
import type { Effect, Facts, GroupEvent, GroupState, Prepared, Request, Step } from '../sync/group-states.js';
import { flightOf, isIdle, isUncertain } from '../sync/group-steps.js';
import type { Flying } from '../sync/flight.js';
import type { Sync } from '../sync/sync.js';
import { performOnWrites } from '../sync/write-effects.js';
import { WriteQueue } from '../sync/write-queue.js';
import { HandClock } from './hand-clock.js';
import { ModelCallers } from './model-callers.js';
import { ModelDatabase } from './model-database.js';
import { ModelLog, type Message } from './model-log.js';
import type { Tape } from './tape.js';

const MAX_MESSAGE_BYTES = 1000;
const WRITE_GROUP = 4;
const HEALING_ROUNDS = 60;
/** Once in so many. */
const RARE = 24;
/** Longer than any back-off. */
const ROUND_MS = 1100;

/** What may happen to a machine. */
export const tapes = fc.array(fc.nat(9999), { minLength: 60, maxLength: 400, size: 'max' });

interface Group {
  readonly message: Message | undefined;
}

/**
 * One writer's machine, with a database and a log that do what they may do: lose answers, deliver
 * late, refuse, be cut, be busy. What happens comes from a tape, and every rule that is broken is
 * noted.
 */
export class GroupWorld {
  readonly violations: string[] = [];
  /** Transitions that were taken, as `from event to`. */
  readonly taken = new Set<string>();
  state: GroupState;
  readonly #clock: HandClock;
  readonly #log: ModelLog;
  #queue: WriteQueue;
  readonly #callers: ModelCallers;
  #group: Group | undefined;
  #names = 0;
  #tokens = 0;
  #stopped: AntiphonError | undefined;
  #connected = true;
  #isHealing = false;
  #alarmed = false;
  #observedSeq = 0;
  /** The log takes nothing. */
  #fullLog = false;

  readonly #database = new ModelDatabase((what) => this.#violated(what));

  constructor(
    private readonly tape: Tape,
    private readonly foreign: boolean,
    private readonly table: GroupTable = GROUP_TABLE,
    kindOfWrite: typeof SyncWrite = SyncWrite,
  ) {
    this.#clock = new HandClock(tape);
    this.#callers = new ModelCallers(tape, this.#clock, kindOfWrite, (what) => this.#violated(what));
    this.#log = new ModelLog(tape);
    this.#queue = this.#newQueue();
    this.state = firstState(foreign);
  }

  #newQueue(): WriteQueue {
    const scope = { clock: this.#clock, limits: { waitingWrites: 100 } } as unknown as Scope;
    return new WriteQueue(scope, { settings: { onShortfall: 'degrade' } } as unknown as Sync);
  }

  // --- What happens
  // ------------------------------------------------------------------------------------------

  /** Until the tape ends, then all is well until nothing is left to do. */
  async run(): Promise<readonly string[]> {
    for (let steps = 0; !this.tape.isOver && steps < 2000; steps++) this.#something();
    this.#heal();
    // Promises of writes tell their outcomes.
    await Promise.resolve();
    await Promise.resolve();
    this.#judge();
    return this.violations;
  }

  #something(): void {
    const { tape } = this;
    const happenings: readonly (() => void)[] = [
      () => this.#turnIn([0, 20, 400][tape.pick(3)] ?? 0),
      () => this.#submit(1 + tape.pick(3), false),
      () => this.#turnIn([0, 20, 400][tape.pick(3)] ?? 0),
      () => this.#feed(Infinity),
      () => this.#turnIn([20, 20, 400][tape.pick(3)] ?? 0),
      () => this.#log.arrive(),
      () => this.#turnIn([400, 20, 1100][tape.pick(3)] ?? 0),
      () => this.#log.arrive(),
      () => this.#submit(1 + tape.pick(3), tape.pick(3) === 1),
      () => this.#feed(1),
      () => this.#log.addForeign(),
      () => this.#read(),
      () => this.#capture(),
      () => this.#poll(),
      () => this.#database.send(this.#log),
      () => this.#on({ type: 'use-up', counter: this.#database.ownCounter + 1 }),
      () => void (tape.pick(2) === 1 && this.#restart()),
      () => void (this.#connected = tape.pick(4) !== 3),
      () => void (this.#database.isFull = tape.pick(3) === 2),
      () => void (this.#fullLog = tape.pick(3) !== 0),
      () => void (tape.pick(24) === 23 && this.#log.cut()),
      () => this.#interfere(),
    ];
    happenings[tape.pick(happenings.length)]?.();
    this.#callers.checkPlaces(flightOf(this.state)?.flying ?? []);
  }

  #heal(): void {
    this.#isHealing = true;
    this.#connected = true;
    this.#database.isFull = false;
    this.#fullLog = false;
    if (this.#log.isCut) this.#stopped ??= new AntiphonError('LOG_REPLACED', 'the log was cut');
    this.#log.arriveAll();
    let rounds = 0;
    for (; rounds < HEALING_ROUNDS && !this.#isQuiet; rounds++) {
      this.#clock.advance(rounds === 0 ? 0 : ROUND_MS);
      this.#feed(Infinity);
      this.#poll();
      this.#database.send(this.#log);
      this.#turn();
      this.#feed(Infinity);
      this.#callers.checkPlaces(flightOf(this.state)?.flying ?? []);
    }
    if (!this.#isQuiet) this.#violated(`liveness: ${this.state.name}, ${this.#queue.length} wait`);
    this.#on({ type: 'close', error: new AntiphonError('CLOSED', 'closing') });
  }

  get #isQuiet(): boolean {
    if (this.#stopped !== undefined) return this.#queue.length === 0;
    return (
      this.#queue.length === 0 &&
      isIdle(this.state) &&
      this.#database.captured.length + this.#database.unsent.length === 0 &&
      !this.#alarmed &&
      this.#database.positionSeq === this.#log.lastSeq
    );
  }

  #submit(count: number, isLocal: boolean): void {
    const writes = Array.from({ length: count }, () => this.#callers.submit(`w${++this.#names}`, isLocal));
    this.#queue.take(writes);
  }

  /** Another process serves the same database; what the last one sent may still be on its way. */
  #restart(): void {
    this.#on({
      type: 'close',
      error: new AntiphonError('ACTOR_STOPPED', 'it starts again; nothing was written'),
    });
    this.#callers.restarted();
    this.#queue = this.#newQueue();
    this.state = firstState(this.foreign);
    this.#observedSeq = this.#database.positionSeq;
    this.#alarmed = false;
  }

  // --- Other programs
  // ----------------------------------------------------------------------------------------

  #capture(): void {
    if (this.foreign) this.#database.captured.push(`f${++this.#names}`);
  }

  #poll(): void {
    if (!this.#isUncertain) this.#database.seal();
  }

  get #isUncertain(): boolean {
    return isUncertain(this.state, this.#database.unsent.length);
  }

  // --- The feed
  // ----------------------------------------------------------------------------------------------

  #read(): void {
    for (const entry of this.#log.entries.slice(this.#observedSeq))
      if (entry.own !== undefined) this.#on({ type: 'saw-own', seq: entry.seq });
    this.#observedSeq = this.#log.lastSeq;
  }

  /** In a turn of its own. */
  #feed(count: number): void {
    if (this.#stopped !== undefined) return;
    this.#read();
    // Applying seals first.
    if (this.#database.captured.length > 0 && this.#isUncertain) return;
    this.#database.seal();
    if (this.#database.isFull) return;
    const toSeq = Math.min(this.#log.lastSeq, this.#database.positionSeq + count);
    const fromSeq = this.#database.positionSeq + 1;
    if (toSeq < fromSeq) return;
    const counted = new Set(this.#log.counted(this.#database.ownLogCounter, fromSeq, toSeq).entries);
    this.#database.positionSeq = toSeq;
    for (const entry of this.#log.entries.slice(fromSeq - 1, toSeq)) {
      const { own, seq, refused, rejected } = entry;
      if (own === undefined) continue;
      if (refused) {
        this.#on({ type: 'refused-own', seq, error: new AntiphonError('LOG_REFUSED', 'its time') });
        continue;
      }
      if (!counted.has(entry)) continue;
      this.#database.hold(own, seq);
      const verdict = { rejected: rejected.map((counter) => ({ counter, reason: 'conflict' })) };
      if (own.token !== undefined)
        this.#on({ type: 'applied', token: own.token, seq, verdict } as unknown as GroupEvent);
    }
    this.#on({ type: 'passed', seq: toSeq });
  }

  // --- The shell
  // ---------------------------------------------------------------------------------------------

  #turnIn(ms: number): void {
    this.#clock.advance(ms);
    this.#turn();
  }

  #turn(): void {
    this.#queue.forgetSettled();
    this.#on(this.#answer({ type: 'look' }));
    this.#callers.leaveQueue();
    this.#group = undefined;
  }

  /** One event and all that follows from it. */
  #on(first: GroupEvent): void {
    let event: GroupEvent | undefined = first;
    for (let steps = 0; event !== undefined; steps++) {
      if (steps > 50) return this.#violated(`liveness: ${this.state.name} goes round within a turn`);
      const ask: Request | undefined = this.#move(event).ask;
      // Promises lie between an event, what follows from it, and the next: whatever the callers do,
      // they may do it there.
      if (ask !== undefined && this.#fails(RARE)) this.#interfere();
      event = ask && this.#answer(ask);
      if (event !== undefined && this.#fails(RARE)) this.#interfere();
    }
  }

  /** Callers lose patience, or the replica is told to close. */
  #interfere(): void {
    const { tape } = this;
    const happenings: readonly (() => void)[] = [
      () => this.#callers.giveUpOne('signal'),
      () => this.#clock.advance(60),
      () => this.#callers.giveUpOne('close'),
    ];
    happenings[tape.pick(happenings.length)]?.();
  }

  #move(event: GroupEvent): Step {
    const step = next(this.state, event, this.table);
    this.taken.add(`${this.state.name} ${event.type} ${step.state.name}`);
    this.state = step.state;
    for (const effect of step.effects) this.#perform(effect);
    return step;
  }

  #answer(ask: Request): GroupEvent {
    const { tape } = this;
    switch (ask.type) {
      case 'look':
        return { type: 'turn', facts: this.#facts() };
      case 'choose':
        return {
          type: 'chosen',
          writes: this.#queue.choose(WRITE_GROUP, MAX_MESSAGE_BYTES).map((w) => this.#take(w)),
        };
      case 'find-own-end':
        if (this.#fails(10)) return this.#failed('LOG_UNAVAILABLE');
        return { type: 'own-end', seq: this.#log.newestOwnSeq };
      case 'read-tail':
        return this.#fails(10) ? this.#failed('TIMEOUT') : this.#tail(ask.upToSeq);
      case 'prepare':
        return this.#prepare(ask.writes);
      case 'seal':
        if (this.#isUncertain || this.#fails(6)) return this.#failed('STORE_BUSY');
        this.#database.seal();
        return { type: 'sealed' };
      case 'publish':
        return this.#publish();
      case 'commit':
        return this.#commit(ask.seq);
      case 'commit-local':
        return this.#commitLocal(ask.flying);
      case 'reserve':
        if (this.#group !== undefined) this.#violated('a transaction is open');
        if (this.#fails(4)) return this.#failed('STORE_BUSY');
        this.#database.lastCounter = Math.max(this.#database.lastCounter, ask.counter);
        return { type: 'reserved' };
      case 'find-outcome':
        return { type: 'outcome', token: this.#database.outcomeOf(ask.flight.firstCounter) };
      default:
        return tape as never;
    }
  }

  #take(write: SyncWrite): SyncWrite {
    this.#callers.place(write, 'machine');
    return write;
  }

  #fails(oneOf: number): boolean {
    return !this.#isHealing && this.tape.pick(oneOf) === 1;
  }

  #failed(code: ConstructorParameters<typeof AntiphonError>[0]): GroupEvent {
    const error = new AntiphonError(code, 'made up');
    return { type: 'failed', error, at: { nowMs: this.#clock.monotonicMs(), chance: this.#clock.random() } };
  }

  #facts(): Facts {
    return {
      nowMs: this.#clock.monotonicMs(),
      waiting: this.#queue.length,
      unpublished: this.#database.unsent.length,
      probes: this.#alarmed,
      stopped: this.#stopped,
      connected: this.#connected,
      held: this.#fails(16),
      recovering: false,
      saturated: this.#fails(16),
      farBehind: false,
      positionSeq: this.#database.positionSeq,
      ownCounter: this.#database.ownCounter,
      uncreated: undefined,
      outOfSync: this.#fails(16) ? new AntiphonError('NOT_IN_SYNC', 'a gap') : undefined,
    };
  }

  #tail(upToSeq: number): GroupEvent {
    const { entries, counter } = this.#log.counted(
      this.#database.ownLogCounter,
      this.#database.positionSeq + 1,
      upToSeq,
    );
    const groups = new Map<string, number>();
    for (const { own, seq } of entries) if (own?.token !== undefined) groups.set(own.token, seq);
    const at = { nowMs: this.#clock.monotonicMs(), chance: 0.5 };
    return { type: 'tail', tail: { counter, time: 0, groups }, at };
  }

  #prepare(writes: readonly SyncWrite[]): GroupEvent {
    if (this.#group !== undefined) this.#violated('a transaction is open already');
    if (this.#fails(12)) return this.#failed(this.tape.pick(8) === 5 ? 'SCHEMA_DRIFT' : 'STORE_BUSY');
    if (this.#database.captured.length > 0 && writes.length > 0) return { type: 'captured' };
    // The database may be busy for long.
    if (this.#fails(6)) this.#clock.advance(60);
    const told = writes.map((write) => this.#callers.of(write));
    const refusals = this.#callers.runAll(told);
    // One of them takes the others with it, and they run again.
    if (this.#fails(RARE)) {
      if (this.#fails(2)) this.#interfere();
      for (const [one, error] of this.#callers.runAll(told.filter((one) => !refusals.has(one))))
        refusals.set(one, error);
    }
    if (this.#fails(RARE)) this.#interfere();
    const willing = told.filter((one) => !refusals.has(one));
    const leftOut = told.length > 1 ? willing.filter(({ isLocal }) => isLocal) : [];
    for (const { write } of leftOut) write.alone = true;
    const ran = willing.filter((one) => !leftOut.includes(one));
    const counted = ran.filter(({ isLocal }) => !isLocal);
    const firstCounter = this.#database.lastCounter + 1;
    const lastCounter = firstCounter + Math.max(1, counted.length) - 1;
    const token = `t${++this.#tokens}`;
    const content = counted.length === 0 ? [token] : counted.map(({ name }) => name);
    const isLocal = writes.length > 0 && counted.length === 0;
    const readSeq = this.#database.positionSeq;
    const message = isLocal ? undefined : { firstCounter, lastCounter, token, content, readSeq };
    this.#group = { message };
    const flying = ran.map((one): Flying => {
      const at = counted.indexOf(one);
      const id = at < 0 ? {} : { id: { origin: 'a', counter: firstCounter + at } };
      return { write: one.write, ran: { type: 'ran', value: undefined, claims: [], ...id } };
    });
    const prepared: Prepared = {
      ...{ origin: 'a', token, flying, leftOut: leftOut.map(({ write }) => write) },
      failed: [...refusals].map(([{ write }, error]) => ({ write, error })),
      ...(message && { message: { firstCounter, lastCounter } }),
      expired: ran.some(({ write }) => write.expired),
      readSeq,
    };
    return { type: 'prepared', prepared };
  }

  #publish(): GroupEvent {
    const flight = flightOf(this.state);
    const noOp = this.state.name === 'no-op-publishing' ? this.state.noOp : undefined;
    const after = noOp?.after ?? flight?.after ?? 0;
    const { message } = this.#group ?? {};
    if (message === undefined) {
      this.#violated('nothing to publish');
      return this.#failed('INTERNAL');
    }
    if (noOp === undefined) this.#callers.sent(flight?.flying ?? []);
    const at = { nowMs: this.#clock.monotonicMs(), chance: 0.5 };
    const silence = new AntiphonError('LOG_UNAVAILABLE', 'no answer');
    const choice = this.#isHealing ? 0 : this.tape.pick(14);
    if (this.#fullLog) return { type: 'refused', error: silence, lastSeqOfOrigin: undefined, at };
    if (choice === 1) return { type: 'unanswered', error: silence, at };
    if (choice === 2 || choice === 12) {
      this.#log.sendLate(message, after);
      return { type: 'unanswered', error: silence, at };
    }
    if (choice === 3) return { type: 'refused', error: silence, lastSeqOfOrigin: undefined, at };
    if (choice === 4) {
      const error = new AntiphonError('MESSAGE_TOO_LARGE', 'made up');
      return { type: 'refused', error, lastSeqOfOrigin: undefined, at };
    }
    if (choice === 5) this.#log.addForeign();
    // The numbers of a group that nobody accepts are reserved where other programs write too, and
    // are missing then: not the machine's to mend, so it does not happen here.
    const mayBeRefused = noOp !== undefined || !this.foreign;
    const isRefused = mayBeRefused && choice === 6 && this.tape.pick(2) === 1;
    // One comes in just before, or together: both were stored by servers then
    // (docs/decisions/0012).
    const races = choice === 11 && this.#log.late.length > 0;
    if (races || choice === 9) this.#log.arrive();
    const seq = this.#log.append(message, races ? undefined : after, isRefused);
    if (choice === 7) this.#read();
    // Whoever waits gives up meanwhile.
    if (choice === 8) this.#clock.advance(60);
    if (choice === 13 && this.tape.pick(2) === 1) return this.#failed('INTERNAL');
    if (choice === 10 || choice === 13) return { type: 'unanswered', error: silence, at };
    if (seq !== undefined) return { type: 'stored', seq, accepted: choice !== 6 };
    return { type: 'refused', error: silence, lastSeqOfOrigin: this.#log.newestOwnSeq, at };
  }

  #commit(seq: number): GroupEvent {
    const { message } = this.#group ?? {};
    const at = { nowMs: this.#clock.monotonicMs(), chance: 0.5 };
    const entry = this.#log.entries[seq - 1];
    if (message === undefined || entry?.own !== message)
      this.#violated(`I1: ${seq} is not what is committed`);
    if (seq !== this.#database.positionSeq + 1)
      this.#violated(`I1: ${seq} is committed after ${this.#database.positionSeq}`);
    if (this.#database.isFull || this.#fails(8)) {
      this.#group = undefined;
      const code = this.tape.pick(8) === 7 ? 'DUPLICATE_REPLICA' : 'STORE_FULL';
      return { type: 'commit-failed', error: new AntiphonError(code, 'made up'), at };
    }
    if (entry?.refused === true) this.#violated(`I1: ${seq} is committed, and nobody accepts it`);
    this.#database.positionSeq = Math.max(seq, this.#database.positionSeq);
    if (message !== undefined) this.#database.hold(message, seq);
    this.#group = undefined;
    return { type: 'committed' };
  }

  #commitLocal(flying: readonly Flying[]): GroupEvent {
    if (this.#group === undefined) this.#violated('nothing to commit');
    this.#group = undefined;
    const at = { nowMs: this.#clock.monotonicMs(), chance: 0.5 };
    if (this.#database.isFull || this.#fails(8))
      return { type: 'commit-failed', error: new AntiphonError('STORE_FULL', 'made up'), at };
    for (const { write } of flying) this.#callers.committedLocally(write);
    // The database may be busy with what the commit leaves behind.
    if (this.#fails(4)) this.#interfere();
    return { type: 'committed' };
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'put-back':
        this.#callers.putBack(effect.writes);
        return performOnWrites(effect, this.#queue);
      case 'reject':
        this.#callers.place(effect.write, 'told');
        return performOnWrites(effect, this.#queue);
      case 'wait':
      case 'all-wait':
      case 'give-up':
      case 'all-give-up':
      case 'published':
      case 'held':
        return performOnWrites(effect, this.#queue);
      case 'acknowledge':
      case 'local-done':
        return effect.flying.forEach(({ write }) => this.#callers.complete(write));
      case 'run-again':
        effect.flying.write.waits();
        this.#callers.putBack([effect.flying.write]);
        return this.#queue.putLast(effect.flying.write);
      case 'not-applied':
        return effect.flight.flying.forEach(({ write }) => {
          this.#callers.place(write, 'told');
          write.reject(new UnknownOutcomeError('not applied', 'a:1'));
        });
      case 'log-refuses':
        this.#alarmed ||= effect.failures >= 1;
        return;
      case 'log-takes':
        this.#alarmed = false;
        return;
      case 'stall':
        this.#stopped ??= effect.error;
        return;
      case 'place-given-twice':
        if (!this.#log.isCut) this.#violated(`I14: ${effect.seq} was not given twice`);
        this.#stopped ??= new AntiphonError('LOG_REPLACED', 'the log was cut');
        return;
      case 'rollback':
        this.#group = undefined;
        break;

      case 'count':
      case 'commit-alarm':
      case 'commit-alarm-ends':
      case 'more':
    }
  }

  // --- The rules
  // ---------------------------------------------------------------------------------------------

  #judge(): void {
    // What is still on its way arrives when nobody thinks of it any more.
    this.#log.arriveAll();
    this.#callers.judge(this.#log);
    if (this.#log.isCut) return;
    const truth = this.#log.truth();
    for (const [counter, name] of this.#database.numbered) {
      const truly = truth.get(counter);
      if (
        truly !== 'rejected' &&
        truly !== name &&
        !this.#database.unsent.some((one) => one.counter === counter)
      )
        this.#violated(`I2: ${counter} stands for ${name} here, and for ${truly ?? 'nothing'} in the log`);
    }
  }

  #violated(what: string): void {
    this.violations.push(what);
  }
}
