import type { Behaviour, Context, Ending, MailboxOptions, NoReply, Received } from '@antiphon/actor';
import {
  AntiphonError,
  type ApplyOutcome,
  type ApplyStep,
  type CompareOptions,
  newestEpoch,
  type Gap,
  type LeftOutWrite,
  type RecaptureReport,
  toAntiphonError,
  type WriteOutcome,
} from '@antiphon/core';
import type { Refusable } from '../state/commit-watch.js';
import { ApplyTurn, type AppliedSteps } from '../deliver/apply-turn.js';
import { judgeEntries } from '../repair/judge-again.js';
import { Heartbeat } from '../membership/heartbeat.js';
import type {
  DeliveryResult,
  ClaimRequest,
  Delivery,
  HeartbeatProtocol,
  RejudgeResult,
  RejudgeRequest,
  ReplicaProtocol,
  WriteMessage,
} from '../state/protocols.js';
import { attend } from '../failover/attend.js';
import { beginHandOver } from '../failover/begin-hand-over.js';
import { logRescued, logRole } from '../failover/log-role.js';
import { alarmRescued, alarmSuspicious } from '../failover/rescue-alarm.js';
import { sendsNothing } from '../publish/resend.js';
import { SealRetry } from './seal-retry.js';
import { leftUnanswered, starting } from './turn-errors.js';
import { Term } from './term.js';
import { WriteHold } from './write-hold.js';
import { GroupCommitter } from '../sync/group-committer.js';
import type { SyncWrite } from '../state/sync-write.js';
import { notWritable } from '../config/not-writable.js';
import { uncertainCounters } from '../state/uncertain-counters.js';
import type { ReplicaScope } from '../sync/replica-scope.js';

const EXPIRY_CHECK_MS = 50;
const RESEND_ANSWER_MS = 5000;

/** Local writes and remote changes each get their share of the turns; neither starves the other. */
export function replicaMailbox(waitingWrites: number): MailboxOptions<ReplicaProtocol> {
  return {
    lanes: {
      write: { weight: 4, capacity: waitingWrites },
      apply: { weight: 2, capacity: 16 },
      control: { weight: 1, capacity: 256 },
      // Writers wait for it.
      role: { weight: 2, capacity: 64 },
    },
    laneOf: {
      write: 'write',
      writeOn: 'write',
      submit: 'write',
      advance: 'write',
      apply: 'apply',
      rejudge: 'apply',
      discard: 'control',
      resolveRescue: 'control',
      enter: 'role',
      claim: 'role',
      rewind: 'apply',
      handOver: 'role',
      noOpGroup: 'control',
      poll: 'control',
      attend: 'control',
      check: 'control',
      tryCommit: 'role',
      recapture: 'control',
      seal: 'control',
      prune: 'control',
      resend: 'control',
      hurry: 'control',
      noteGap: 'control',
      forgetGaps: 'control',
      hold: 'control',
      release: 'control',
      expire: 'control',
    },
  };
}

/**
 * Owns the store: everything that uses the database's write connection happens in a turn of this
 * actor, so it needs no locks.
 */
export class ReplicaActor implements Behaviour<ReplicaProtocol> {
  readonly receive = {
    write: (
      _: WriteMessage,
      context: Context<ReplicaProtocol>,
      message: Received<ReplicaProtocol, 'write'>,
    ) => this.#write(context, message),
    submit: (write: SyncWrite, context: Context<ReplicaProtocol>): Promise<void> =>
      this.#submit(write, context),
    advance: (_: undefined, context: Context<ReplicaProtocol>): Promise<void> => this.#advance(context),
    noOpGroup: async (counter: number, context: Context<ReplicaProtocol>): Promise<void> => {
      await this.#follow(context);
      // Deposed meanwhile: it would count for nobody but this database.
      if (this.scope.authority.current().mayWrite) this.#committer?.noOpGroup(counter);
      return this.#advance(context);
    },
    apply: (delivery: Delivery): Promise<DeliveryResult> => this.#apply(delivery),
    enter: (_: undefined, context: Context<ReplicaProtocol>): Promise<void> => this.#follow(context),
    claim: async ({ ending, ...claim }: ClaimRequest): Promise<void> => {
      if (ending !== undefined && newestEpoch(this.scope.store.state()).number !== ending) return;
      // Elected for the place of a primary that is not the one of now.
      if (claim.why === 'failover' && this.scope.authority.current().epoch !== this.#term?.epoch) return;
      await this.#term?.claim(claim);
    },
    rewind: (spent: number | undefined, context: Context<ReplicaProtocol>): Promise<void> =>
      spent === undefined ? this.#rewind() : this.#renumber(spent, context),
    handOver: async ({ holdMs, ...begin }: HandOverRequest): Promise<boolean> => {
      if (!(await beginHandOver(this.scope, begin))) return false;
      this.#hold.beginHandOver(begin.epoch, holdMs);
      this.#term?.relay?.tell('flush');
      return true;
    },
    rejudge: (request: RejudgeRequest): Promise<RejudgeResult> => this.#rejudge(request),
    discard: async (ids: readonly number[]): Promise<void> => {
      const { seq } = this.scope.store.state().position;
      await this.#beside(ids.map((id) => ({ type: 'release', id, arrived: false, seq })));
    },
    resolveRescue: ({ id, state, by }: Resolution): Promise<boolean> =>
      this.scope.store.resolveRescue(id, state, by),
    poll: (): Promise<void> | void => {
      const { store, clocks } = this.scope;
      if (!this.#polling || !this.#sealing.due) return;
      if (!store.hasUnsealed()) return this.#sealing.over();
      // What waits for a clock that is set right waits in the outbox; trying would only lock the
      // database.
      if (clocks.refusal === undefined) return this.#poll();
    },
    attend: (): void => attend(this.scope),
    check: (_: undefined, context: Context<ReplicaProtocol>): Promise<void> => this.#check(context),
    tryCommit: (): Promise<void> => this.scope.commits.probed(() => this.scope.store.tryCommit()),
    recapture: (request: CompareOptions & { table: string }): Promise<RecaptureReport> =>
      this.#recapture(request),
    seal: async (): Promise<number> => {
      const sealed = await this.#seal();
      this.#term?.relay?.tell('flush');
      return sealed;
    },
    prune: (counter: number): Promise<void> => this.scope.store.prune(counter),
    resend: (
      from: number,
      _: Context<ReplicaProtocol>,
      message: Received<ReplicaProtocol, 'resend'>,
    ): NoReply => {
      if (this.#term === undefined) return message.reject(starting());
      // In its own time: the relay reads pages of the outbox for it.
      const asked = this.#term.relay?.ask('resend', from, { timeoutMs: RESEND_ANSWER_MS });
      asked?.then(
        (answer) => message.reply(answer),
        (error: unknown) => message.reject(toAntiphonError(error)),
      );
      return asked === undefined ? message.reply(sendsNothing(this.scope)) : message.defer();
    },
    noteGap: (gap: Gap): Promise<void> => this.#noteGap(gap),
    forgetGaps: (gaps: readonly Gap[]): Promise<void> => this.#forgetGaps(gaps),
    hurry: async (_: undefined, context: Context<ReplicaProtocol>): Promise<void> => {
      await this.#check(context);
      this.#term?.feed.tell('hurry');
    },
    hold: (holdMs: number): void => this.#hold.begin(holdMs),
    release: (epoch: number | undefined, context: Context<ReplicaProtocol>): Promise<void> => {
      this.#hold.end(epoch);
      return this.#writeOn(context);
    },
    writeOn: (_: undefined, context: Context<ReplicaProtocol>): Promise<void> => this.#writeOn(context),
    expire: (_: undefined, context: Context<ReplicaProtocol>): Promise<void> | void => {
      this.scope.sync?.acker.askSilent();
      if (this.#committer?.due === true) return this.#advance(context);
      if (this.#held.length > 0) return this.#writeOn(context);
    },
  };
  /** Undefined before the first one, and while the next one begins. */
  #term: Term | undefined;
  #polling = true;
  readonly #sealing: SealRetry;
  /** While it is on, library writes wait in `#held`. */
  readonly #hold: WriteHold;
  /** Also those that the last group had no time for. */
  #held: Received<ReplicaProtocol, 'write'>[] = [];
  #writingOn = false;
  #committer: GroupCommitter | undefined;
  readonly #applyTurn: ApplyTurn;
  #advancing = false;
  readonly #stopListening: (() => void)[] = [];

  constructor(private readonly scope: ReplicaScope) {
    this.#sealing = new SealRetry(scope);
    this.#hold = new WriteHold(scope.clock);
    this.#applyTurn = new ApplyTurn(scope, (applied) => this.#applied(applied));
  }

  started(context: Context<ReplicaProtocol>): void {
    const { scope } = this;
    this.#listenForSync(context);
    this.#stopListening.push(scope.authority.onChange(() => context.self.tell('enter')));
    this.#enter(context);
    context.spawn<HeartbeatProtocol>('heartbeat', () => new Heartbeat(scope, context.self));
    context.every(scope.limits.beatMs, 'check', undefined);
    context.every(EXPIRY_CHECK_MS, 'expire', undefined);
  }

  /** What was started for one epoch does nothing in the next one. */
  async #follow(context: Context<ReplicaProtocol>): Promise<void> {
    const { authority, health, progress } = this.scope;
    if (authority.current().epoch === this.#term?.epoch) return;
    await this.#term?.end();
    const waiting = authority.current().mayWrite ? this.#committer?.handOn() : undefined;
    this.#depose();
    this.#sealing.over();
    health.reignEnded();
    this.#enter(context);
    this.#committer?.take(waiting ?? []);
    health.handle('entered');
    progress.moved();
    logRole(this.scope);
  }

  #enter(context: Context<ReplicaProtocol>): void {
    this.#startCommitting();
    this.#term = new Term(this.scope, context);
  }

  /** What is in flight of it still counts only where it stands before the next epoch. */
  async #rewind(): Promise<void> {
    const { store, progress, health } = this.scope;
    await this.#term?.stopSending();
    this.#depose();
    const { lastCounter: spent } = store.state();
    health.handle('rewind');
    const undone = await store.rewind({ reason: 'rescued', spent }).finally(() => health.handle('rewound'));
    progress.moved();
    alarmRescued(this.scope);
    alarmSuspicious(this.scope, undone);
    logRescued(this.scope, undone);
  }

  /**
   * The log has an own number that this database never gave, as far as it knows. It is the primary
   * again when the next epoch has begun behind that, and then writes again what it undid.
   */
  async #renumber(spent: number, context: Context<ReplicaProtocol>): Promise<void> {
    const { store, progress, ownLog, id } = this.scope;
    await this.#term?.stopSending();
    const passed = ownLog.at(store.state(), this.scope).partial[id];
    alarmSuspicious(this.scope, await store.rewind({ reason: 'pending', spent, passed }));
    await this.#term?.end();
    this.#enter(context);
    progress.moved();
  }

  /**
   * What is in flight and not in the log before the new epoch counts for nobody. Nothing of it is
   * uncertain any more, so that what other programs wrote can be numbered.
   */
  #depose(): void {
    if (this.#committer === undefined) return;
    this.#committer.deposed(this.#notWritable());
    this.#committer = undefined;
    this.scope.store.guardNumbering(() => undefined);
  }

  /** Its counters go on where the log has ours when the mandate begins. */
  #startCommitting(): void {
    const { sync } = this.scope;
    if (sync === undefined) return;
    const committer = new GroupCommitter(
      this.scope,
      sync,
      () => this.#hold.isOn,
      () => this.#seal(),
    );
    this.#committer = committer;
    this.scope.store.guardNumbering(() => {
      if (committer.uncertain) throw uncertainCounters();
    });
    sync.standing = () => ({
      waiting: committer.waiting,
      inFlight: committer.inFlight,
      idle: committer.idle,
    });
    sync.onOwnEntry = (seq) => committer.sawOwn(seq);
  }

  #notWritable(): AntiphonError {
    const { id, cluster, authority } = this.scope;
    return notWritable({ cluster, id, primary: authority.current().primary });
  }

  #listenForSync(context: Context<ReplicaProtocol>): void {
    const { sync, progress, log } = this.scope;
    if (sync === undefined) return;
    sync.acker.start();
    const advance = (): void => {
      if (this.#advancing || this.#committer?.due !== true) return;
      this.#advancing = context.self.tell('advance');
    };
    const listening = [progress.onMove(advance), log.onConnection(advance), sync.inSync.onChange(advance)];
    this.#stopListening.push(...listening);
  }

  stopped(reason: Ending): void {
    const { sync, id } = this.scope;
    for (const stop of this.#stopListening) stop();
    const ended = reason.type !== 'restarting';
    const why = ended ? `Replica ${id} is closing` : `Replica ${id} had a defect and starts again`;
    const error = new AntiphonError(ended ? 'CLOSED' : 'ACTOR_STOPPED', `${why}. Nothing was written.`);
    this.#committer?.close(error);
    // Their functions were not begun.
    for (const message of this.#held.splice(0)) message.reject(error);
    if (ended) sync?.acker.stop();
  }

  /** Group commit through the log: all writes that wait go into one message. */
  async #submit(write: SyncWrite, context: Context<ReplicaProtocol>): Promise<void> {
    await this.#follow(context);
    const more = context.takeWaiting('submit', this.scope.limits.writeGroup - 1);
    const writes = [write, ...more.map(({ request }) => request)];
    const isHeld = this.#hold.isOn && this.scope.authority.current().mayWrite;
    if (!(this.#mayWrite || isHeld) || this.#committer === undefined)
      for (const refused of writes) refused.reject(this.#notWritable());
    // Answered for the mailbox; the callers are told by the write itself.
    for (const message of more) message.reply(undefined);
    this.#committer?.take(writes.filter(({ settled }) => !settled));
    return this.#advance(context);
  }

  async #advance(context: Context<ReplicaProtocol>): Promise<void> {
    await this.#follow(context);
    this.#advancing = false;
    // One group a turn: others get theirs in between.
    if ((await this.#committer?.turn()) !== true || this.#advancing) return;
    this.#advancing = context.self.tell('advance');
  }

  /** Group commit: all writes that wait go into one transaction of the database. */
  #write(
    context: Context<ReplicaProtocol>,
    message: Received<ReplicaProtocol, 'write'>,
  ): Promise<NoReply> | NoReply {
    this.#held.push(message);
    if (this.#hold.isOn) return message.defer();
    const room = Math.max(0, this.scope.limits.writeGroup - this.#held.length);
    this.#held.push(...context.takeWaiting('write', room));
    return this.#writeHeld(context);
  }

  /**
   * One group of those that wait here. What it leaves is for the next one: others get their turn in
   * between.
   */
  async #writeHeld(context: Context<ReplicaProtocol>): Promise<NoReply> {
    if (!this.#mayWrite) return this.#refuseHeld();
    const group = this.#held.splice(0, this.scope.limits.writeGroup);
    const { left, answered } = await this.#commit(group);
    this.#held.unshift(...left);
    const deferred = this.#held.map((message) => message.defer());
    if (this.#held.length > 0 && !this.#writingOn) this.#writingOn = context.self.tell('writeOn');
    return (answered ?? deferred[0]) as NoReply;
  }

  /** Also where it hands over: the database takes no writes before the next epoch. */
  get #mayWrite(): boolean {
    const { authority, store } = this.scope;
    return authority.current().mayWrite && (!authority.byTerm || store.state().writes !== 'refuse');
  }

  #refuseHeld(): NoReply {
    const refused = this.#held.splice(0).map((message) => message.reject(this.#notWritable()));
    return refused.at(-1) as NoReply;
  }

  async #commit(group: readonly Received<ReplicaProtocol, 'write'>[]): Promise<Committed> {
    const { counters, store, health, progress, commits, traces } = this.scope;
    let outcomes: readonly (WriteOutcome | LeftOutWrite)[];
    try {
      outcomes = await store.write(group.map(({ request }) => ({ run: (tx: unknown) => request.run(tx) })));
    } catch (thrown) {
      if (!(thrown instanceof AntiphonError)) throw thrown;
      commits.failed(thrown);
      if (STANDING_STILL.has(thrown.code)) health.stall(thrown);
      return { left: [], answered: group.map((message) => message.reject(thrown)).at(-1) as NoReply };
    }
    if (outcomes.some((outcome) => outcome.type === 'committed' && outcome.id !== undefined))
      commits.succeeded();
    else for (const outcome of outcomes) if (outcome.type === 'rejected') commits.failed(outcome.error);
    traces.committed(group, outcomes);
    // Before the answers: the followers get it while the caller is still being told.
    this.#term?.relay?.tell('wake');
    const left: Received<ReplicaProtocol, 'write'>[] = [];
    let answered: NoReply | undefined;
    for (const [index, message] of group.entries()) {
      const outcome = outcomes[index];
      if (outcome?.type === 'left-out') left.push(message);
      else answered = outcome === undefined ? message.reject(leftUnanswered()) : message.reply(outcome);
    }
    counters.writes += group.length - left.length;
    progress.moved();
    return { left, answered };
  }

  #apply(delivery: Delivery): Promise<DeliveryResult> {
    return this.#applying((assertCertain) => this.#applyTurn.take(delivery, assertCertain));
  }

  #beside(steps: readonly ApplyStep[]): Promise<ApplyOutcome> {
    return this.#applying((assertCertain) => {
      assertCertain();
      return this.#applyTurn.beside(steps);
    });
  }

  /**
   * What applies seals first what other programs wrote: that is to be sent, and must have sure
   * counters. Where there are epochs, the record that deposes this primary is what settles them:
   * it is looked for all the same.
   */
  async #applying<T extends Refusable>(
    apply: (assertCertain: (isDeposed?: boolean) => void) => Promise<T>,
  ): Promise<T> {
    const { store, authority, ownReturn, commits } = this.scope;
    await ownReturn.finish();
    const assertCertain = (isDeposed = false): void => {
      if (isDeposed) this.#depose();
      if (this.#countersUncertain && store.hasUnsealed()) throw uncertainCounters();
    };
    if (!authority.byTerm) assertCertain();
    const before = store.state().lastCounter;
    const done = await commits.applying(apply(assertCertain), () => store.state().position.seq);
    if (store.state().lastCounter > before) this.#term?.relay?.tell('wake');
    await this.#committer?.passed(store.state().position.seq);
    return done;
  }

  async #rejudge(request: RejudgeRequest): Promise<RejudgeResult> {
    const { steps, verdicts } = judgeEntries(this.scope, request);
    if (steps.length === 0) return { verdicts, steps: 0 };
    this.scope.counters.retried++;
    const { refused } = await this.#beside(steps);
    const applied = steps.filter(({ type }) => type !== 'release').length;
    return { verdicts, steps: applied, ...(refused && { refused: refused.error }) };
  }

  async #noteGap(gap: Gap): Promise<void> {
    const { position, gaps } = this.scope.store.state();
    if (gaps.some(({ origin }) => origin === gap.origin)) return;
    try {
      await this.#applyGaps([{ type: 'gap', gap, seq: position.seq }]);
    } catch (error) {
      // The database is busy or full: whoever has noticed it notices it again.
      if (!(error instanceof AntiphonError) || !error.retriable) throw error;
    }
  }

  async #forgetGaps(gaps: readonly Gap[]): Promise<void> {
    const { gaps: present } = this.scope.store.state();
    const unfounded = gaps.filter(({ origin, expected }) =>
      present.some((gap) => gap.origin === origin && gap.expected === expected),
    );
    await this.#applyGaps(unfounded.map(({ origin, seq }) => ({ type: 'no-gap', origin, seq })));
  }

  async #applyGaps(steps: readonly ApplyStep[]): Promise<void> {
    if (steps.length > 0) await this.#beside(steps);
  }

  /** Synchronous groups among the steps are committed here: whoever waits for that is told. */
  #applied({ steps, verdicts, refusedStep }: AppliedSteps): void {
    const { id, sync } = this.scope;
    if (sync === undefined) return;
    const replies = new Set<string>();
    for (const step of steps.slice(0, refusedStep)) {
      if (step.type === 'quarantine' && step.origin === id) this.#committer?.refused(step.seq, step.error);
      if (step.type !== 'transactions' || step.batch.sync === undefined) continue;
      const { origin, sync: section } = step.batch;
      if (origin === id) this.#committer?.applied(section.token, step.seq, verdicts.get(step.seq));
      else if (section.reply !== undefined) replies.add(section.reply);
    }
    sync.applied(replies);
  }

  /**
   * Writes of other programs must not be given a counter that an attempt without an answer may have
   * taken.
   */
  get #countersUncertain(): boolean {
    return this.#committer?.uncertain === true;
  }

  async #poll(): Promise<void> {
    try {
      await this.#seal();
      this.#sealing.over();
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (!this.#sealing.failed(error)) this.#pollFailed(error);
    }
  }

  /** Also where nobody writes: a database that is not what it was must be noticed by itself. */
  async #check(context: Context<ReplicaProtocol>): Promise<void> {
    const { store, health, commits, authority } = this.scope;
    if (health.ended) return;
    // Its lane may have had no room for `enter`.
    await this.#follow(context);
    try {
      await store.check();
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (STANDING_STILL.has(error.code)) health.stall(error);
      return;
    }
    await commits.look(store, authority.current().mayWrite);
    if (!this.#hold.isOn) this.#term?.takeBack();
    // Also where the feed was first to notice that it is over.
    if (health.stalled === undefined) this.#polling = true;
    if (health.holding?.code !== 'SCHEMA_DRIFT') return;
    health.resume();
    this.#term?.feed.tell('hurry');
  }

  async #recapture({ table, ...options }: CompareOptions & { table: string }): Promise<RecaptureReport> {
    const { store, health } = this.scope;
    if (store.recapturing === undefined)
      throw new AntiphonError('INTERNAL', 'This database cannot be recaptured.');
    const report = await store.recapturing.compare(table, options);
    if (!options.dryRun && health.stalled?.tables !== undefined) await this.#recover();
    return report;
  }

  /** What the stall was for may be gone: everything that it stopped goes on. */
  async #recover(): Promise<void> {
    const { store, health } = this.scope;
    try {
      await store.check();
    } catch (error) {
      if (!(error instanceof AntiphonError) || !STANDING_STILL.has(error.code)) throw error;
      health.recover(error);
      if (health.replicating) this.#goOn();
      return;
    }
    health.recover();
    this.#goOn();
  }

  #goOn(): void {
    this.#polling = true;
    this.#term?.feed.tell('resume');
    this.#term?.relay?.tell('resume');
    this.#term?.relay?.tell('flush');
    this.scope.progress.moved();
  }

  /**
   * The captured writes stay where they are; asking every few milliseconds would not change that.
   */
  #pollFailed(error: AntiphonError): void {
    this.#polling = false;
    this.#sealing.over();
    this.scope.health.stall(error);
  }

  async #seal(): Promise<number> {
    if (this.#countersUncertain) throw uncertainCounters();
    const { store, commits } = this.scope;
    const sealed = await commits.during(store.seal());
    if (sealed > 0) {
      commits.succeeded();
      this.#term?.relay?.tell('wake');
      this.scope.progress.moved();
    }
    return sealed;
  }

  async #writeOn(context: Context<ReplicaProtocol>): Promise<void> {
    this.#writingOn = false;
    if (this.#held.length > 0 && !this.#hold.isOn) await this.#writeHeld(context);
  }
}

type Resolution = Parameters<ReplicaProtocol['resolveRescue']>[0];
type HandOverRequest = Parameters<ReplicaProtocol['handOver']>[0];

interface Committed {
  /** For the next group. */
  readonly left: readonly Received<ReplicaProtocol, 'write'>[];
  readonly answered: NoReply | undefined;
}

/** The database is not what it was, or not this process's any more. */
const STANDING_STILL = new Set(['DUPLICATE_REPLICA', 'STORE_REPLACED', 'STORE_CORRUPT', 'SCHEMA_DRIFT']);
