import {
  type AdmissionState,
  AntiphonError,
  type ApplyOutcome,
  type ApplyStep,
  counterOf,
  formatTransactionId,
  type Gap,
  type KnownEntry,
  type LogEntry,
  type Position,
  type StoreState,
  type TransactionId,
  type Verdict,
  sentence,
  newestEpoch,
} from '@antiphon/core';
import { intakeRules } from './rules.js';
import { isKnownMember } from '../cluster/members.js';
import type { DeliveryResult, Delivery } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import { Intake, type IntakeNote, type IntakePlan } from './intake.js';
import { assertNoSecondLife } from './own-recovery.js';
import { QuarantineBudget } from './quarantine-budget.js';
import { applySpan } from '../tracing/spans.js';
import { type SpanSpec, traced } from '../tracing/tracer.js';

/** What was applied, for whoever waits for synchronous groups among it. */
export interface AppliedSteps {
  readonly steps: readonly ApplyStep[];
  /** What certification says of groups among the steps, by entry. */
  readonly verdicts: ReadonlyMap<number, Verdict>;
  /** The first step that the database did not take: it and those after it were not applied. */
  readonly refusedStep: number | undefined;
}

interface Plan {
  readonly plan: IntakePlan;
  readonly steps: readonly ApplyStep[];
  /** What is known of the entry that the plan ends with, or of one before it. */
  readonly entry: KnownEntry | undefined;
  /** Messages to be quarantined that found no room there. */
  readonly overflow: number;
}

/**
 * One turn of the replica actor for entries of the log: it decides (`Intake`) and applies with
 * nothing in between, so what it decides by is what the database holds.
 */
export class ApplyTurn {
  /**
   * Batches that no replica can apply although admission let them pass, by `seq/batch`: planned
   * again, they are quarantined.
   */
  readonly #refused = new Map<string, AntiphonError>();
  /** The first own counter that nobody has accepted; undefined when all were. */
  #refusedCounter: number | undefined;

  constructor(
    private readonly scope: Scope,
    /** In the same turn, after the commit. */
    private readonly onApplied: (applied: AppliedSteps) => void,
  ) {}

  /**
   * Rejects as `Store.apply` does, as `assertMayApply` throws, and with DUPLICATE_REPLICA; nothing
   * was applied then. It is told when the epoch that deposes this primary comes next, and nothing
   * of its own before that: no attempt of it can be in the log any more.
   */
  async take(
    { entries, more, unreadable }: Delivery,
    assertMayApply: (isDeposed: boolean) => void,
  ): Promise<DeliveryResult> {
    const { store } = this.scope;
    if (unreadable !== undefined) this.#refuseAll(unreadable.seq, unreadable.error);
    const rest = this.#unapplied(more === undefined ? entries : [...entries, ...more()]);
    const last = rest.at(-1);
    if (last === undefined) return { doneSeq: store.state().position.seq };
    await assertNoSecondLife(this.scope, rest, this.#ownLog(store.state()));
    const planned = this.#planned(rest);
    this.#noteSuccessor(planned.plan);
    const { plan } = planned;
    if (planned.steps.length === 0) {
      this.#pass(planned);
      if (plan.waits !== undefined) return this.#waiting(plan.waits);
      return this.#delivered(planned);
    }
    assertMayApply(plan.successor !== undefined && !planned.steps.some((step) => this.#isOwn(step)));
    const { refused } = await traced(
      () => this.#spanOf(rest, planned.steps),
      () =>
        this.#apply(planned.steps, this.#positionOf(planned), (seq) => this.#published(plan.ownLogAt(seq))),
    );
    this.onApplied({
      steps: planned.steps,
      verdicts: plan.verdicts,
      refusedStep: refused?.step,
    });
    if (refused === undefined) return this.#delivered(planned);
    const doneSeq = store.state().position.seq;
    this.scope.ownLog.wasRead(plan.ownLogAt(doneSeq));
    return this.#refusedAt(planned, refused, doneSeq);
  }

  /** Of what is written now, as far as its writers traced it. */
  #spanOf(entries: readonly LogEntry[], steps: readonly ApplyStep[]): SpanSpec | undefined {
    const written = steps.filter(({ type }) => type === 'transactions' || type === 'part');
    const seqs = new Set(written.map(({ seq }) => seq));
    const applied = entries.filter(({ seq, traces }) => traces !== undefined && seqs.has(seq));
    return applySpan(
      this.scope,
      applied.flatMap(({ traces = [] }) => traces),
      seqs.size,
    );
  }

  /** What is missing is asked for, and the log read again for it, while the position stays. */
  async #waiting({ seq, gap }: NonNullable<IntakePlan['waits']>): Promise<DeliveryResult> {
    const { store } = this.scope;
    const { gaps, position } = store.state();
    if (gaps.every(({ origin }) => origin !== gap.origin))
      await this.beside([{ type: 'gap', gap, seq: position.seq }]);
    return { doneSeq: position.seq, refused: { seq, error: epochWaits(seq, gap) } };
  }

  /**
   * Steps beside what the log brings: the position stays where it is. Rejects as `Store.apply`
   * does.
   */
  async beside(steps: readonly ApplyStep[]): Promise<ApplyOutcome> {
    const { store, progress } = this.scope;
    const outcome = await this.#apply(steps, store.state().position);
    this.onApplied({ steps, verdicts: new Map(), refusedStep: outcome.refused?.step });
    progress.moved();
    return outcome;
  }

  /**
   * Without what was committed in place meanwhile: own groups, which the database had before the
   * log brought them back.
   */
  #unapplied(entries: readonly LogEntry[]): readonly LogEntry[] {
    const { sync, store } = this.scope;
    const { seq } = store.state().position;
    const [first] = entries;
    if (first === undefined || first.seq > seq) return entries;
    for (const entry of entries) if (entry.seq <= seq) sync?.certification?.look(entry);
    return entries.filter((entry) => entry.seq > seq);
  }

  #plan(entries: readonly LogEntry[]): IntakePlan {
    const { counters, store, id, instance, authority, ownBegun, health, hybrid, sync } = this.scope;
    const state = store.state();
    return Intake.plan(entries, state, intakeRules(this.scope), {
      self: id,
      ownLog: this.#ownLog(state),
      ownCounter: Math.max(state.lastCounter, ownBegun),
      // A message of another process of ours is fenced; whatever is not is our own past.
      recoverOwnUpTo: authority.byTerm ? Infinity : this.scope.recoverOwnUpTo,
      ownLatestTime: hybrid.last,
      causesMayBeMissing: state.quarantined + state.discarded + counters.quarantineOverflow > 0,
      gaps: state.gaps,
      epoch: newestEpoch(state),
      instance,
      takesWrites: authority.byTerm && (state.writes !== 'refuse' || hasTail(state, id)),
      isDoubted: health.isAlarmed(HISTORY_ALARM),
      isMember: (origin) => isKnownMember(this.scope, origin, state),
      refused: (seq, batch) => this.#refused.get(`${seq}/${batch}`),
      ...(sync && { synchronous: { certification: sync.certification } }),
    });
  }

  #isOwn(step: ApplyStep): boolean {
    return (step.type === 'transactions' || step.type === 'part') && step.batch.origin === this.scope.id;
  }

  #ownLog(state: StoreState): AdmissionState {
    return this.scope.ownLog.at(state, this.scope);
  }

  #planned(rest: readonly LogEntry[]): Plan {
    const { store, limits } = this.scope;
    const plan = this.#plan(rest);
    const budget = new QuarantineBudget(limits, store.state());
    const steps = plan.steps.filter((step) => step.type !== 'quarantine' || budget.admits(step.data.length));
    return { plan, steps, entry: knownOf(rest, plan.seq), overflow: plan.steps.length - steps.length };
  }

  /**
   * Own messages, repetitions, holes: nothing but the position moves, which can wait for the next
   * commit.
   */
  #pass(planned: Plan): void {
    const { store } = this.scope;
    if (planned.plan.seq > 0)
      store.markPublished(this.#published(planned.plan.ownLog), this.#positionOf(planned));
  }

  #positionOf({ plan, entry }: Plan): Position {
    return { generation: this.scope.document.generation, seq: plan.seq, ...(entry && { entry }) };
  }

  async #apply(
    steps: readonly ApplyStep[],
    position: Position,
    publishedAt: (seq: number) => number = () => 0,
  ): Promise<ApplyOutcome> {
    const { counters, store, limits, clock, conflicts, health, positions } = this.scope;
    const outcome = await store.apply({
      steps,
      position,
      publishedAt,
      yield: () => clock.yield(),
      sliceMs: limits.applySliceMs,
    });
    counters.appliedTransactions += outcome.transactions;
    counters.appliedRows += outcome.rows;
    this.#noteEpochs(steps.slice(0, outcome.refused?.step));
    conflicts.note(outcome);
    // In this order: what is missing, how far it is, and only then whoever waits for either.
    health.wait(store.state().gaps);
    positions.commit(store.state().position.seq);
    return outcome;
  }

  /** Before anything else: this database may not come to it for long. */
  #noteSuccessor({ successor }: IntakePlan): void {
    const { authority, held } = this.scope;
    if (successor === undefined) return;
    // Whatever is written meanwhile would have to be undone as well.
    held.forfeit();
    authority.deposed(successor);
  }

  #noteEpochs(steps: readonly ApplyStep[]): void {
    if (!steps.some((step) => step.type === 'epoch')) return;
    this.scope.authority.changed();
    // Own numbers that the log did not have by then are spent: nothing waits for them any more.
    this.#refusedCounter = undefined;
    this.scope.health.clearAlarm(OWN_ALARM);
    // The next primary says itself what it has.
    this.scope.health.clearAlarm(HISTORY_ALARM);
  }

  /**
   * Our own transactions count as published when they come back in order, and not when the log
   * acknowledged them: only that is what the others see. It is stored together with the position
   * that it belongs to, and never before it: more would pass for what the log had in order there.
   */
  #published(ownLog: AdmissionState): number {
    const { store, id } = this.scope;
    return Math.max(store.state().publishedCounter, counterOf(ownLog.vector, id));
  }

  #delivered({ plan, steps, overflow }: Plan): DeliveryResult {
    const { counters, health, ownLog, progress } = this.scope;
    ownLog.wasRead(plan.ownLog);
    const quarantined = steps.filter(({ type }) => type === 'quarantine').length;
    counters.quarantineOverflow += overflow;
    counters.quarantined += quarantined;
    // The entry was dealt with: quarantined, or fenced.
    this.#refused.clear();
    health.resume();
    this.#note(plan.notes);
    this.#endOwnAlarm();
    progress.moved();
    return { doneSeq: plan.seq, ...(plan.halt && { halt: plan.halt }) };
  }

  /**
   * What no database can apply is quarantined at the next try; what only this one refuses is told.
   */
  #refusedAt(
    { plan, steps }: Plan,
    { step: index, error }: NonNullable<ApplyOutcome['refused']>,
    doneSeq: number,
  ): DeliveryResult {
    const step = steps[index];
    if (step === undefined) return { doneSeq };
    const { seq } = step;
    if (step.type !== 'transactions' && step.type !== 'part') return { doneSeq, refused: { seq, error } };
    if (NOBODY_CAN.has(error.code)) {
      this.#refused.set(`${seq}/${plan.batches[plan.steps.indexOf(step)] ?? -1}`, error);
      return { doneSeq };
    }
    const { origin, firstCounter } = step.batch;
    const counter = Number(error.context['counter'] ?? firstCounter);
    return { doneSeq, refused: { seq, origin, counter, error } };
  }

  #refuseAll(seq: number, error: AntiphonError): void {
    for (let batch = 0; batch < MAX_BATCHES_OF_ENTRY; batch++) this.#refused.set(`${seq}/${batch}`, error);
  }

  #note(notes: readonly IntakeNote[]): void {
    const { counters, clocks, health } = this.scope;
    for (const note of notes) {
      if (note.type === 'duplicate') counters.duplicates++;
      else if (note.type === 'fenced') counters.fenced++;
      else if (note.type === 'hole') counters.holes++;
      else if (note.type === 'own-refused') this.#ownRefused(note.counter, note.error);
      else if (note.type === 'ahead') clocks.sawAhead(note.origin, note.time);
      else if (note.type === 'primary-lacks') this.#primaryLacks(note.primary, note.has);
      else if (note.type === 'primary-has') health.clearAlarm(HISTORY_ALARM);
    }
  }

  /** Every replica quarantines it, and this one learns it as soon as they do. */
  #ownRefused(counter: number, { message }: AntiphonError): void {
    const { id, health, sync, store } = this.scope;
    const ours = `No replica accepts transaction ${id}:${counter} of this one: ${sentence(message)}`;
    const isCommitted = counterOf(store.state().vector, id) >= counter;
    this.#refusedCounter = Math.min(counter, this.#refusedCounter ?? Infinity);
    if (sync === undefined || isCommitted) {
      health.alarm(
        OWN_ALARM,
        `${ours} It and everything after it wait here until the log's clock has caught up.`,
      );
      return;
    }
    health.alarm(OWN_ALARM, `${ours} It was not committed. Correct the clock of this machine.`);
  }

  /** What was read of the log was not the same. Nothing here can tell which of them is right. */
  #primaryLacks(primary: string, has: TransactionId): void {
    this.scope.health.alarm(
      HISTORY_ALARM,
      `This database has ${formatTransactionId(has)}, and ${primary}, the primary, has not: their copies of the log differed. ` +
        'Compare them with `antiphon verify`, and start the replica that is wrong with an empty file. The alarm ends with ' +
        'the next write of a primary that has it.',
    );
  }

  /** It is in the log in order now, or another one in its place. */
  #endOwnAlarm(): void {
    const { id, health, store } = this.scope;
    if (this.#refusedCounter === undefined) return;
    if (counterOf(this.#ownLog(store.state()).vector, id) < this.#refusedCounter) return;
    this.#refusedCounter = undefined;
    health.clearAlarm(OWN_ALARM);
  }
}

/** The primary has not read what this replica has. */
const HISTORY_ALARM = 'history';
/** Nobody accepts what this replica writes. */
const OWN_ALARM = 'own';
/** Whatever database reads it: the fault is in the message. */
const NOBODY_CAN = new Set(['MALFORMED_MESSAGE', 'MESSAGE_TOO_LARGE', 'UNSUPPORTED_FORMAT']);
/** More batches in one message than this would each be well under the relay's packing. */
const MAX_BATCHES_OF_ENTRY = 1024;

/** Its own transactions of which the log has nothing in order, as far as it was read. */
function hasTail({ vector, publishedCounter }: StoreState, id: string): boolean {
  return counterOf(vector, id) > publishedCounter;
}

/** What is known of the entry that a plan ends with. */
function knownOf(entries: readonly LogEntry[], seq: number): KnownEntry | undefined {
  const entry = entries.findLast((one) => one.seq <= seq);
  return entry && { seq: entry.seq, storedAtMs: entry.storedAtMs };
}

function epochWaits(seq: number, { origin, expected }: Gap): AntiphonError {
  const missing = formatTransactionId({ origin, counter: expected });
  return new AntiphonError(
    'APPLY_REFUSED',
    `Entry ${seq} of the log begins an epoch that counts on ${missing}, which is missing here.`,
    { retriable: true, context: { missing } },
  );
}
