import type { ActorRef, Behaviour, Context } from '@antiphon/actor';
import {
  AntiphonError,
  counterOf,
  sleep,
  type AdmissionState,
  type ApplyOutcome,
  type KnownEntry,
  type LogEntry,
  type LogReader,
  type Refusal,
  type StoreState,
} from '@antiphon/core';
import { decodeClusterDocument, CLUSTER_KEY } from '../cluster/cluster-document.js';
import { retryDelayMs } from '../wait/deadline.js';
import { Hold } from './hold.js';
import { Intake, type IntakeNote, type IntakePlan } from './intake.js';
import { intakeRules } from './intake-check.js';
import { isKnownMember } from '../cluster/members.js';
import { assertNoSecondLife, ownLogState } from './own-past.js';
import type { ApplyMessage, FeedProtocol, PlannedApply, ReplicaProtocol } from '../state/protocols.js';
import { QuarantineBudget } from './quarantine-budget.js';
import type { Scope } from '../state/scope.js';
import { isUncertainCounters } from '../state/uncertain-counters.js';
import { soleWriter } from '../config/topology.js';

const SCHEMA_RETRY_MS = 1000;
const COUNTERS_RETRY_MS = 20;

interface Planned {
  readonly plan: IntakePlan;
  /** The entries that it is about. */
  readonly rest: readonly LogEntry[];
  /** Absent when nothing but the position moves. */
  readonly request: PlannedApply | undefined;
  /** Messages to be put aside that found no room there. */
  readonly overflow: number;
  /** How many messages had been taken out of quarantine when it was planned. */
  readonly retried: number;
}

/**
 * The log's durable consumer: entries in order, in bounded groups, to the replica. It reads, decides
 * (`Intake`) and waits for the commit before it reads on, so what is in memory is one group. What the
 * database does not take is held (`Hold`).
 */
export class Feed implements Behaviour<FeedProtocol> {
  readonly receive = {
    hurry: (): void => this.#hold.hurry(),
    resume: (_: undefined, context: Context<FeedProtocol>): void => this.#start(context),
  };
  readonly #hold: Hold;
  /**
   * Batches that no replica can apply though admission let them pass, by `seq/batch`; put aside when they are
   * planned again.
   */
  readonly #refused = new Map<string, AntiphonError>();
  #reader: LogReader | undefined;
  /** The first own counter that nobody has accepted; undefined when all were. */
  #refusedCounter: number | undefined;
  #running: Promise<void> = Promise.resolve();
  /** What the log has of our own messages in order: what the others have admitted of them. */
  #ownLog: AdmissionState;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    /** Stop after this entry; for a primary, which needs no more than its own past. */
    private readonly untilSeq = Infinity,
  ) {
    this.#hold = new Hold(scope);
    this.#ownLog = ownLogState(scope.id, scope.store.state());
  }

  started(context: Context<FeedProtocol>): void {
    this.#start(context);
  }

  /** A stall ends a run; the next one begins behind it, at the position. */
  #start(context: Context<FeedProtocol>): void {
    this.#running = this.#running
      .then(() => this.#run(context.signal))
      .catch((error: unknown) => {
        if (context.signal.aborted) return;
        if (error instanceof AntiphonError && STALLING.has(error.code)) this.scope.condition.stall(error);
        else context.crash(error);
      });
  }

  async stopped(): Promise<void> {
    await this.#reader?.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { limits, condition } = this.scope;
    if (!condition.replicating) return;
    const reader = await this.#open(signal);
    this.#reader = reader;
    const stopListening = condition.onState(() => {
      if (!condition.replicating) void reader.close();
    });
    try {
      while (condition.replicating && this.scope.progress.seq < this.untilSeq) {
        const entries = await reader.next({
          maxEntries: limits.applyEntries,
          maxBytes: limits.applyBytes,
          signal,
        });
        await this.#take(entries, signal);
        reader.ack(this.scope.store.state().position.seq);
      }
    } catch (error) {
      if (condition.replicating) throw error;
    } finally {
      stopListening();
      void reader.close();
    }
  }

  async #open(signal: AbortSignal): Promise<LogReader> {
    const { log, document, store, id, clock } = this.scope;
    for (let attempt = 0; ; attempt++) {
      try {
        const fromSeq = store.state().position.seq + 1;
        return await log.read({ generation: document.generation, fromSeq, durable: `replica_${id}` });
      } catch (error) {
        if (!(error instanceof AntiphonError) || !error.retriable) throw error;
        await sleep(clock, retryDelayMs(attempt, clock), signal);
      }
    }
  }

  async #take(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    await this.#meet(entries, signal);
    await assertNoSecondLife(this.scope, entries, this.#ownLogNow(this.scope.store.state()));
    this.scope.sync?.observe(entries);
    for (let rest = this.#unapplied(entries); rest.length > 0 && this.scope.condition.replicating;) {
      rest = await this.#round(rest, signal);
    }
  }

  /** Plans and applies; returns what is left to do. */
  async #round(entries: readonly LogEntry[], signal: AbortSignal): Promise<readonly LogEntry[]> {
    const { sync, store, clock } = this.scope;
    let planned: Planned | undefined;
    const prepare = (): PlannedApply | undefined => {
      planned = this.#planned(this.#unapplied(entries));
      return planned.request;
    };
    const sinceMs = clock.monotonicMs();
    let outcome: ApplyOutcome | undefined;
    try {
      // Where own groups are committed in place, what is new is known only when nobody else has a turn.
      if (sync !== undefined) outcome = await this.#ask(prepare, signal);
      else if (prepare() !== undefined)
        outcome = await this.#ask(() => (this.#isStale(planned) ? prepare() : planned?.request), signal);
    } catch (thrown) {
      if (!(thrown instanceof AntiphonError) || !HELD.has(thrown.code)) throw thrown;
      if (thrown.code === 'SCHEMA_DRIFT' && thrown.context['gaps'] !== undefined) {
        this.scope.condition.stall(thrown);
        return entries;
      }
      if (isUncertainCounters(thrown)) {
        await sleep(clock, COUNTERS_RETRY_MS, signal);
        return entries;
      }
      await this.#hold.wait({ seq: entries[0]?.seq ?? 0 }, thrown, clock.monotonicMs() - sinceMs, signal);
      return entries;
    }
    if (planned === undefined) return [];
    const { plan, rest } = planned;
    const refused = outcome?.refused;
    const doneSeq = refused === undefined ? plan.seq : store.state().position.seq;
    this.#ownLog =
      refused === undefined ? plan.ownLog : this.#plan(rest.filter((entry) => entry.seq <= doneSeq)).ownLog;
    if (refused === undefined) {
      this.#committed(planned);
      if (plan.halt !== undefined) await this.#halt(plan.halt, signal);
    } else await this.#refuse(planned, refused, clock.monotonicMs() - sinceMs, signal);
    return rest.filter((entry) => entry.seq > doneSeq);
  }

  /** Something was applied from the quarantine since: what was planned may be a repetition now. */
  #isStale(planned: Planned | undefined): boolean {
    return planned?.retried !== this.scope.condition.counts.retried;
  }

  /**
   * Without what was committed in place meanwhile: own groups, which the database had before the feed came to
   * them.
   */
  #unapplied(entries: readonly LogEntry[]): readonly LogEntry[] {
    if (this.scope.sync === undefined) return entries;
    const { seq } = this.scope.store.state().position;
    const [first] = entries;
    if (first === undefined || first.seq > seq) return entries;
    for (const entry of entries) if (entry.seq <= seq) this.scope.sync?.certification?.look(entry);
    return entries.filter((entry) => entry.seq > seq);
  }

  /** Looks up origins that were never seen before; waits while the registry does not answer. */
  async #meet(entries: readonly LogEntry[], signal: AbortSignal): Promise<void> {
    const { members, clock } = this.scope;
    const writer = soleWriter(this.scope.document.topology);
    const origins = new Set<string>();
    for (const { origin } of entries) {
      if (!members.has(origin) && (writer === undefined || origin === writer)) origins.add(origin);
    }
    if (origins.size === 0) return;
    for (let attempt = 0; ; attempt++) {
      try {
        return await members.lookUp(origins);
      } catch (error) {
        if (!(error instanceof AntiphonError) || !error.retriable) throw error;
        await sleep(clock, retryDelayMs(attempt, clock), signal);
      }
    }
  }

  #plan(entries: readonly LogEntry[]): IntakePlan {
    const { store, id, ownPastUpTo, hybrid, sync, condition } = this.scope;
    const state = store.state();
    return Intake.plan(entries, state, intakeRules(this.scope), {
      self: id,
      ownLog: this.#ownLogNow(state),
      ownCounter: state.lastCounter,
      ownPastUpTo,
      ownLatestTime: hybrid.last,
      causesMayBeMissing: state.quarantined + state.discarded + condition.counts.quarantineOverflow > 0,
      gaps: state.gaps,
      isMember: (origin) => isKnownMember(this.scope, origin, state),
      refused: (seq, batch) => this.#refused.get(`${seq}/${batch}`),
      ...(sync && { synchronous: { certification: sync.certification } }),
    });
  }

  /**
   * Groups that were committed in place are published without having come by here. What counts as published
   * and is not applied is not one of them, but of an apply that failed (the database was busy) and is tried
   * again: it must not pass for a repetition then.
   */
  #ownLogNow(state: StoreState): AdmissionState {
    const { id, sync } = this.scope;
    const known = ownLogState(id, state);
    return sync === undefined || counterOf(this.#ownLog.vector, id) >= counterOf(known.vector, id)
      ? this.#ownLog
      : known;
  }

  /**
   * What is to be applied. When nothing but the position moves, which can wait for the next commit, it is
   * moved here.
   */
  #planned(rest: readonly LogEntry[]): Planned {
    const { store, document, progress, condition, limits } = this.scope;
    const plan = this.#plan(rest);
    const { retried } = condition.counts;
    const budget = new QuarantineBudget(limits, store.state());
    const steps = plan.steps.filter((step) => step.type !== 'quarantine' || budget.admits(step.data.length));
    const overflow = plan.steps.length - steps.length;
    const published = this.#published(plan);
    const entry = knownOf(rest, plan.seq);
    if (steps.length > 0) {
      const { seq, verdicts } = plan;
      const request = { steps, seq, published, verdicts, ...(entry && { entry }) };
      return { plan, rest, request, overflow, retried };
    }
    if (plan.seq > 0) {
      // Own messages, repetitions, holes.
      const position = { generation: document.generation, seq: plan.seq, ...(entry && { entry }) };
      store.markPublished(published, position);
      progress.moved(plan.seq);
    }
    return { plan, rest, request: undefined, overflow, retried };
  }

  #committed({ plan, request, overflow }: Planned): void {
    const { condition, store, progress } = this.scope;
    condition.counts.quarantineOverflow += overflow;
    if (request !== undefined) {
      const putAside = request.steps.filter((step) => step.type === 'quarantine').length;
      condition.counts.quarantined += putAside;
      if (putAside > 0) this.#refused.clear();
    }
    this.#hold.end();
    this.#note(plan.notes);
    this.#endOwnAlarm();
    condition.wait(store.state().gaps);
    progress.moved(plan.seq);
  }

  /** What no database can apply is put aside at the next try; what only this one refuses is held. */
  async #refuse(
    { plan, request }: Planned,
    { step: index, error }: Refusal,
    tookMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { condition, store } = this.scope;
    condition.wait(store.state().gaps);
    const step = request?.steps[index];
    if (step === undefined) return;
    const { seq } = step;
    if (step.type !== 'transactions' && step.type !== 'part')
      return this.#hold.wait({ seq }, error, tookMs, signal);
    if (NOBODY_CAN.has(error.code)) {
      this.#refused.set(`${seq}/${plan.batches[index] ?? -1}`, error);
      return;
    }
    const { origin, firstCounter } = step.batch;
    const { counter = firstCounter } = error.context;
    await this.#hold.wait({ seq, origin, counter: Number(counter) }, error, tookMs, signal);
  }

  /**
   * Where several write, our own transactions count as published when they come back in order, and not when
   * the log acknowledged them: only that is what the others see, and it is stored together with the position
   * that it belongs to.
   */
  #published(plan: IntakePlan): number {
    const { store, soleAppender, id } = this.scope;
    const { publishedCounter } = store.state();
    if (soleAppender) return publishedCounter;
    return Math.max(publishedCounter, counterOf(plan.ownLog.vector, id));
  }

  #ask(plan: ApplyMessage['plan'], signal: AbortSignal): Promise<ApplyOutcome> {
    return this.replica.ask('apply', { plan }, { timeoutMs: Infinity, signal });
  }

  #note(notes: readonly IntakeNote[]): void {
    const { condition, clocks } = this.scope;
    for (const note of notes) {
      if (note.type === 'duplicate') condition.counts.duplicates++;
      else if (note.type === 'hole') condition.counts.holes++;
      else if (note.type === 'own-refused') this.#ownRefused(note.counter, note.error);
      else if (note.type === 'ahead') clocks.sawAhead(note.origin, note.time);
    }
  }

  /** Every replica puts it aside, and this one learns it as soon as they do. */
  #ownRefused(counter: number, { message }: AntiphonError): void {
    const { id, condition, sync, store } = this.scope;
    const ours = `Our own transaction ${id}:${counter} is accepted by no replica: ${message}`;
    const isCommitted = counterOf(store.state().vector, id) >= counter;
    this.#refusedCounter = Math.min(counter, this.#refusedCounter ?? Infinity);
    if (sync === undefined || isCommitted) {
      condition.alarm(
        OWN_ALARM,
        `${ours}. It and everything after it waits here until the log's clock has caught up`,
      );
      return;
    }
    condition.alarm(OWN_ALARM, `${ours}. It was not committed; correct the clock of this machine`);
  }

  /** It is in the log in order now, or another one in its place. */
  #endOwnAlarm(): void {
    const { id, condition } = this.scope;
    if (this.#refusedCounter === undefined) return;
    if (counterOf(this.#ownLog.vector, id) < this.#refusedCounter) return;
    this.#refusedCounter = undefined;
    condition.clearAlarm(OWN_ALARM);
  }

  async #halt(halt: NonNullable<IntakePlan['halt']>, signal: AbortSignal): Promise<void> {
    const { condition, registry, document, clock } = this.scope;
    if (halt.reason !== 'newer-schema') return condition.stall(halt.error);
    // A forged version must not stop anything; a real one is in the registry before it is in the log.
    for (let attempt = 0; ; attempt++) {
      try {
        const entry = await registry.get(CLUSTER_KEY);
        const agreed = entry === undefined ? document : decodeClusterDocument(entry.value);
        if (agreed.schema.version > document.schema.version) return condition.stall(halt.error);
        const seq = Number(halt.error.context['seq']);
        for (let batch = 0; batch < MAX_BATCHES_OF_ENTRY; batch++)
          this.#refused.set(`${seq}/${batch}`, halt.error);
        return;
      } catch (error) {
        if (!(error instanceof AntiphonError) || !error.retriable) throw error;
        await sleep(clock, Math.max(SCHEMA_RETRY_MS, retryDelayMs(attempt, clock)), signal);
      }
    }
  }
}

/** Nobody accepts what this replica writes. */
const OWN_ALARM = 'own';
/** An operator has to act; the database and what it holds are as they should be. */
const STALLING = new Set(['LOG_REPLACED', 'UNSUPPORTED_FORMAT', 'DUPLICATE_REPLICA', 'STORE_CORRUPT']);
/** The store could not even begin, or not commit: nothing was applied, and what is in the way may go away. */
const HELD = new Set([
  'STORE_BUSY',
  'STORE_FULL',
  'STORE_UNAVAILABLE',
  'STORE_FAILED',
  'OVERLOADED',
  'CLOCK_SKEW',
  'SCHEMA_DRIFT',
  'CONSTRAINT',
  'APPLY_REFUSED',
  'UNKNOWN_TABLE',
  'MESSAGE_TOO_LARGE',
  'MALFORMED_MESSAGE',
  'BAD_SQL',
]);
/** Whatever database reads it: the fault is in the message. */
const NOBODY_CAN = new Set(['MALFORMED_MESSAGE', 'MESSAGE_TOO_LARGE', 'UNSUPPORTED_FORMAT']);
/** More batches in one message than this would each be well under the relay's packing. */
const MAX_BATCHES_OF_ENTRY = 1024;

/** What is known of the entry that a plan ends with. */
function knownOf(entries: readonly LogEntry[], seq: number): KnownEntry | undefined {
  const entry = entries.findLast((one) => one.seq <= seq);
  return entry && { seq: entry.seq, storedAtMs: entry.storedAtMs };
}
