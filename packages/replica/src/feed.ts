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
  type StoreState,
} from '@antiphon/core';
import { decodeClusterDocument, CLUSTER_KEY } from './cluster-document.js';
import { retryDelayMs } from './deadline.js';
import { Intake, type IntakeNote, type IntakePlan } from './intake.js';
import { ownLogState } from './own-past.js';
import type { ApplyMessage, FeedProtocol, PlannedApply, ReplicaProtocol } from './protocols.js';
import { QuarantineBudget } from './quarantine-budget.js';
import type { Scope } from './scope.js';
import { soleWriter } from './topology.js';

const SCHEMA_RETRY_MS = 1000;

interface Planned {
  readonly plan: IntakePlan;
  /** The entries that it is about. */
  readonly rest: readonly LogEntry[];
  /** Absent when nothing but the position moves. */
  readonly request: PlannedApply | undefined;
}

/**
 * The log's durable consumer: entries in order, in bounded groups, to the replica. It reads, decides (`Intake`) and waits for
 * the commit before it reads on, so what is in memory is one group.
 */
export class Feed implements Behaviour<FeedProtocol> {
  readonly receive = { keep: (): void => undefined };
  readonly #quarantine: QuarantineBudget;
  /** Batches that the database refused, by `seq/batch`; put aside when they are planned again. */
  readonly #refused = new Map<string, AntiphonError>();
  #reader: LogReader | undefined;
  /** What the log has of our own messages in order: what the others have admitted of them. */
  #ownLog: AdmissionState;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    /** Stop after this entry; for a primary, which needs no more than its own past. */
    private readonly untilSeq = Infinity,
  ) {
    this.#quarantine = new QuarantineBudget(scope.limits, scope.store.state().quarantined);
    this.#ownLog = ownLogState(scope.id, scope.store.state());
  }

  started(context: Context<FeedProtocol>): void {
    this.#run(context.signal).catch((error: unknown) => {
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
    this.scope.sync?.observe(entries);
    for (let rest = this.#unapplied(entries); rest.length > 0 && this.scope.condition.replicating;) {
      rest = await this.#round(rest, signal);
    }
  }

  /** Plans and applies; returns what is left to do. */
  async #round(entries: readonly LogEntry[], signal: AbortSignal): Promise<readonly LogEntry[]> {
    const { sync, store } = this.scope;
    let planned: Planned | undefined;
    const prepare = (): PlannedApply | undefined => {
      planned = this.#planned(this.#unapplied(entries));
      return planned.request;
    };
    // Where own groups are committed in place, what is new is known only when nobody else has a turn.
    let outcome: ApplyOutcome | undefined;
    if (sync !== undefined) outcome = await this.#ask({ plan: prepare }, signal);
    else if (prepare() !== undefined) outcome = await this.#ask({ plan: () => planned?.request }, signal);
    if (planned === undefined) return [];
    const { plan, rest } = planned;
    const committed = outcome?.refused === undefined;
    if (committed) {
      this.#committed(planned);
      this.#note(plan.notes);
    } else this.#refuse(planned, outcome?.refused);
    const doneSeq = committed ? plan.seq : store.state().position.seq;
    this.#ownLog = committed ? plan.ownLog : this.#plan(rest.filter((entry) => entry.seq <= doneSeq)).ownLog;
    if (committed && plan.halt !== undefined) await this.#halt(plan.halt, signal);
    return rest.filter((entry) => entry.seq > doneSeq);
  }

  /** Without what was committed in place meanwhile: own groups, which the database had before the feed came to them. */
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
    const { store, id, document, limits, ownPastUpTo, members, condition, sync } = this.scope;
    const state = store.state();
    const rules = { schema: document.schema, soleWriter: soleWriter(document.topology), limits };
    return Intake.plan(entries, state, rules, {
      self: id,
      ownLog: this.#ownLogNow(state),
      ownCounter: state.lastCounter,
      ownPastUpTo,
      causesMayBeMissing: state.quarantined > 0 || condition.waiting.length > 0,
      isMember: (origin) => members.has(origin),
      refused: (seq, batch) => this.#refused.get(`${seq}/${batch}`),
      ...(sync && { synchronous: { certification: sync.certification } }),
    });
  }

  /**
   * Groups that were committed in place are published without having come by here. What counts as published and is not applied is not one
   * of them, but of an apply that failed (the database was busy) and is tried again: it must not pass for a repetition then.
   */
  #ownLogNow(state: StoreState): AdmissionState {
    const { id, sync } = this.scope;
    const known = ownLogState(id, state);
    return sync === undefined || counterOf(this.#ownLog.vector, id) >= counterOf(known.vector, id)
      ? this.#ownLog
      : known;
  }

  /** What is to be applied. When nothing but the position moves, which can wait for the next commit, it is moved here. */
  #planned(rest: readonly LogEntry[]): Planned {
    const { store, document, progress, condition } = this.scope;
    const plan = this.#plan(rest);
    const kept = plan.steps.map(
      (step) => step.type !== 'quarantine' || this.#quarantine.admits(step.data.length),
    );
    const steps = plan.steps.filter((_, index) => kept[index]);
    condition.counts.quarantineOverflow += plan.steps.length - steps.length;
    const published = this.#published(plan);
    const entry = knownOf(rest, plan.seq);
    if (steps.length > 0) {
      const { seq, verdicts } = plan;
      return { plan, rest, request: { steps, seq, published, verdicts, ...(entry && { entry }) } };
    }
    if (plan.seq > 0) {
      // Own messages, repetitions, holes.
      const position = { generation: document.generation, seq: plan.seq, ...(entry && { entry }) };
      store.markPublished(published, position);
      progress.moved(plan.seq);
    }
    return { plan, rest, request: undefined };
  }

  #committed({ plan, request }: Planned): void {
    if (request === undefined) return;
    const putAside = request.steps.filter((step) => step.type === 'quarantine').length;
    this.scope.condition.counts.quarantined += putAside;
    if (putAside > 0) this.#refused.clear();
    this.scope.progress.moved(plan.seq);
  }

  #refuse({ plan, request }: Planned, refused: ApplyOutcome['refused']): void {
    const step = refused === undefined ? undefined : request?.steps[refused.step];
    if (step === undefined || refused === undefined) return;
    if (step.type === 'transactions' && step.batch.sync !== undefined) {
      // The others have committed it, and what comes after may build on it: this database is not in step any more.
      return this.scope.condition.stall(refused.error);
    }
    const batch = plan.batches[plan.steps.indexOf(step)] ?? -1;
    this.#refused.set(`${step.seq}/${batch}`, asRefused(refused.error));
  }

  /**
   * Where several write, our own transactions count as published when they come back in order, and not when the log acknowledged
   * them: only that is what the others see, and it is stored together with the position that it belongs to.
   */
  #published(plan: IntakePlan): number {
    const { store, soleAppender, id } = this.scope;
    const { publishedCounter } = store.state();
    if (soleAppender) return publishedCounter;
    return Math.max(publishedCounter, counterOf(plan.ownLog.vector, id));
  }

  /** The database may be busy or full for long: tried for ever, and `status` says so. */
  async #ask(request: ApplyMessage, signal: AbortSignal): Promise<ApplyOutcome> {
    const { condition, clock } = this.scope;
    for (let attempt = 0; ; attempt++) {
      try {
        const outcome = await this.replica.ask('apply', request, { timeoutMs: Infinity, signal });
        condition.clearAlarm('apply');
        return outcome;
      } catch (error) {
        if (!(error instanceof AntiphonError)) throw error;
        if (CONTENT.has(error.code)) return await this.#single(request.plan(), error, signal);
        if (!WAITING.has(error.code)) throw error;
        condition.counts.storeRetries++;
        condition.alarm('apply', `changes of other replicas wait: ${error.message}`);
        await sleep(clock, retryDelayMs(attempt, clock), signal);
      }
    }
  }

  /** Finds the step whose content cannot be read: only the store reads the parts of a big transaction. */
  async #single(
    request: PlannedApply | undefined,
    error: AntiphonError,
    signal: AbortSignal,
  ): Promise<ApplyOutcome> {
    const steps = request?.steps ?? [];
    const none = { transactions: 0, rows: 0, conflicts: 0 };
    if (request === undefined || steps.length <= 1) return { ...none, refused: { step: 0, error } };
    const published = this.scope.store.state().publishedCounter;
    for (const [index, step] of steps.entries()) {
      const one = { ...request, steps: [step], seq: step.seq - 1, published };
      const outcome = await this.#ask({ plan: () => one }, signal);
      if (outcome.refused !== undefined) {
        return { ...none, refused: { step: index, error: outcome.refused.error } };
      }
    }
    // All of them went through one by one; what is left is the position.
    return await this.#ask({ plan: () => ({ ...request, steps: [] }) }, signal);
  }

  #note(notes: readonly IntakeNote[]): void {
    const { condition, clocks } = this.scope;
    for (const note of notes) {
      if (note.type === 'admitted') condition.arrived(note.origin);
      else if (note.type === 'duplicate') condition.counts.duplicates++;
      else if (note.type === 'hole') {
        condition.counts.holes++;
        condition.waitFor(note.origin, note.expected, note.found, note.reason);
      } else clocks.sawAhead(note.origin, note.time);
    }
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

/** An operator has to act; the database and what it holds are as they should be. */
const STALLING = new Set(['LOG_REPLACED', 'UNSUPPORTED_FORMAT', 'SCHEMA_DRIFT', 'DUPLICATE_REPLICA']);
/** Passes by itself, or when somebody makes room. */
const WAITING = new Set(['STORE_BUSY', 'STORE_FULL', 'OVERLOADED', 'CLOCK_SKEW']);
/** The fault of what is applied, not of the database. */
const CONTENT = new Set([
  'MALFORMED_MESSAGE',
  'MESSAGE_TOO_LARGE',
  'UNKNOWN_TABLE',
  'CONSTRAINT',
  'APPLY_REFUSED',
]);
/** More batches in one message than this would each be well under the relay's packing. */
const MAX_BATCHES_OF_ENTRY = 1024;

/** What is known of the entry that a plan ends with. */
function knownOf(entries: readonly LogEntry[], seq: number): KnownEntry | undefined {
  const entry = entries.findLast((one) => one.seq <= seq);
  return entry && { seq: entry.seq, storedAtMs: entry.storedAtMs };
}

function asRefused(error: AntiphonError): AntiphonError {
  if (error.code === 'APPLY_REFUSED' || error.code === 'MALFORMED_MESSAGE') return error;
  return new AntiphonError('APPLY_REFUSED', error.message, { cause: error, context: error.context });
}
