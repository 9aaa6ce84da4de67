import {
  type AlarmName,
  alarmSection,
  AntiphonError,
  type Clock,
  type Gap,
  type Role,
  sentence,
} from '@antiphon/core';
import { nextState, type LifecycleEvent, type LifecycleState } from '../config/lifecycle.js';
import type { Alarm, Holding, StallReason, Waiting } from '../config/standstill.js';
import type { Logger } from '../config/logger.js';

/** A process that goes on would do harm, or nothing: it ends, and says so with its exit code. */
const ENDING: ReadonlySet<string> = new Set(['DUPLICATE_REPLICA', 'MEMBER_REMOVED', 'STORE_REPLACED']);

const MAX_ALARMS = 32;
/**
 * Alarms of work that a stall stops: what was in its way may be gone, and nobody tries any more.
 * When replication goes on, whatever is still in the way is noticed again.
 */
const STOPPED_BY_STALL: ReadonlySet<AlarmName> = new Set(['apply', 'publish', 'commit', 'in-sync'] as const);

/** Alarms of what only a primary does; the next one, or the same in the next epoch, begins anew. */
const OF_A_REIGN: ReadonlySet<AlarmName> = new Set(['publish', 'commit'] as const);

/**
 * A table that has another shape than the cluster agreed on loses nothing, and what it cannot take
 * waits until it is changed back. Where changes may have gone unnoticed (`uncaptured`), changing it
 * back mends nothing.
 */
function isPassing({ code, context }: AntiphonError): boolean {
  return code === 'SCHEMA_DRIFT' && context['uncaptured'] === undefined;
}

/**
 * How this replica is: lifecycle, what it stands still for, alarms. One place that all actors write
 * to and `status` reads.
 */
export class Health {
  #state: LifecycleState = 'joining';
  #stalled: StallReason | undefined;
  #failure: AntiphonError | undefined;
  #holding: Holding | undefined;
  #waiting: readonly Waiting[] = [];
  #gaps: readonly Gap[] = [];
  readonly #alarms = new Map<AlarmName, { message: string; sinceMs: number; count: number }>();
  readonly #listeners = new Set<(state: LifecycleState) => void>();
  readonly #watchers = new Set<() => void>();
  constructor(
    private readonly role: () => Role,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  get state(): LifecycleState {
    return this.#state;
  }

  get stalled(): StallReason | undefined {
    return this.#stalled;
  }

  /** Why this replica ended by itself; undefined while it runs, and when it was closed. */
  get failure(): AntiphonError | undefined {
    return this.#failure;
  }

  get holding(): Holding | undefined {
    return this.#holding;
  }

  /** In the order in which the log shows that something is missing. */
  get waiting(): readonly Waiting[] {
    return this.#waiting;
  }

  /** Everything that the position has passed is applied, and it is not held. */
  get complete(): boolean {
    return this.#waiting.length === 0 && this.#holding === undefined;
  }

  /** Why this replica does not get on, in a sentence; undefined when nothing is in the way. */
  get obstacle(): string | undefined {
    if (this.#stalled !== undefined) return this.#stalled.message;
    if (this.#holding !== undefined) return this.#holding.message;
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const { origin, expected, reason } = first;
    return `Transaction ${origin}:${expected} is missing here: ${sentence(reason)}`;
  }

  get alarms(): readonly Alarm[] {
    return [...this.#alarms].map(([name, alarm]) => ({ name, section: alarmSection(name), ...alarm }));
  }

  /** Replication goes on; neither stalled nor ending. */
  get replicating(): boolean {
    return this.#state !== 'stalled' && !this.ended;
  }

  get ended(): boolean {
    return this.#state === 'failed' || this.#state === 'closing' || this.#state === 'closed';
  }

  /** For what needs replication: why there is none; undefined while there is. */
  get stopped(): AntiphonError | undefined {
    if (this.ended) return new AntiphonError('CLOSED', `The replica is ${this.#state}. Open it again.`);
    if (this.#stalled === undefined) return undefined;
    const { code, message } = this.#stalled;
    return new AntiphonError(code, `Replication has stalled. ${sentence(message)}`);
  }

  handle(event: LifecycleEvent): void {
    const before = this.#state;
    this.#state = nextState(before, event, this.role());
    if (this.#state === before) return;
    this.logger.debug({ from: before, to: this.#state }, 'Lifecycle changed.');
    for (const listener of [...this.#listeners]) listener(this.#state);
    this.#changed();
  }

  /** Whatever `status` shows of it may be another; called often. */
  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Replication stops here, or the whole replica, by the code of the error; the first reason is
   * kept. Of tables whose changes may have gone uncaptured, all are named.
   */
  stall(error: AntiphonError): void {
    if (ENDING.has(error.code)) return this.fail(error);
    if (this.#state === 'stalled') return this.#alsoStalled(error);
    if (this.ended) return;
    if (isPassing(error)) return this.#drifted(error);
    this.#stalled = this.#reasonOf(error);
    this.#holding = undefined;
    for (const name of STOPPED_BY_STALL) this.#alarms.delete(name);
    this.logger.error(
      { code: error.code, ...error.context },
      `Replication has stalled. ${sentence(error.message)}`,
    );
    this.handle('stall');
  }

  #alsoStalled(error: AntiphonError): void {
    const before = this.#stalled;
    const reason = this.#reasonOf(error);
    if (before?.tables === undefined || reason.tables === undefined) return;
    this.#stalled = { ...reason, sinceMs: before.sinceMs };
  }

  #reasonOf({ code, message, context: { uncaptured } }: AntiphonError): StallReason {
    const tables = Array.isArray(uncaptured)
      ? uncaptured.filter((name) => typeof name === 'string')
      : undefined;
    return { code, message, sinceMs: this.clock.nowMs(), ...(tables && { tables }) };
  }

  /** What caused the stall was done away with; `left`: this much of it is left. */
  recover(left?: AntiphonError): void {
    if (this.#state !== 'stalled') return;
    if (left !== undefined && ENDING.has(left.code)) return this.fail(left);
    if (left !== undefined && !isPassing(left)) {
      this.#stalled = this.#reasonOf(left);
      return this.#changed();
    }
    this.#stalled = undefined;
    this.logger.info({}, 'The cause of the stall is gone. Replication continues.');
    this.handle('recover');
    if (left !== undefined) this.#drifted(left);
  }

  /** What the entry says that is held for this already says more. */
  #drifted({ code, message, context: { table } }: AntiphonError): void {
    if (this.#holding?.code === code && this.#holding.seq !== undefined) return;
    this.hold({ code, message, ...(typeof table === 'string' && { table }) });
  }

  /** This replica must not go on: it ends, with this error. */
  fail(error: AntiphonError): void {
    if (this.ended) return;
    this.#failure = error;
    this.#stalled ??= { code: error.code, message: error.message, sinceMs: this.clock.nowMs() };
    this.logger.error({ code: error.code, ...error.context }, `The replica ends. ${sentence(error.message)}`);
    this.handle('fail');
  }

  onState(listener: (state: LifecycleState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called whenever something of it may have changed, and sometimes when nothing has. */
  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * The position stays where it is, until `resume`: one hold, whatever refuses the next try. Logged
   * when it begins; later tries only count.
   */
  hold(refused: Omit<Holding, 'sinceMs' | 'attempts'>): void {
    if (!this.replicating) return;
    const before = this.#holding;
    this.#holding = {
      ...refused,
      sinceMs: before?.sinceMs ?? this.clock.nowMs(),
      attempts: (before?.attempts ?? 0) + 1,
    };
    this.alarm('apply', refused.message);
    this.handle('hold');
    this.#changed();
  }

  /** What became of the question for a missing transaction. */
  answered(origin: string, expected: number, answer: string, absent = false): void {
    const index = this.#waiting.findIndex((one) => one.origin === origin && one.expected === expected);
    const known = this.#waiting[index];
    if (known === undefined || known.answer === answer) return;
    const { absent: _, ...waiting } = known;
    this.#waiting = this.#waiting.with(index, { ...waiting, answer, ...(absent && { absent }) });
    this.logger.warn({ origin, expected }, `Waiting for ${origin}:${expected}: ${sentence(answer)}`);
  }

  resume(): void {
    if (this.#holding === undefined) return;
    this.logger.info(
      { seq: this.#holding.seq },
      'The transaction that was held is applied. Replication continues.',
    );
    this.#holding = undefined;
    this.clearAlarm('apply');
    this.handle('resume');
    this.#changed();
  }

  /** What the database says is missing. The same list again costs nothing. */
  wait(gaps: readonly Gap[]): void {
    if (gaps === this.#gaps) return;
    this.#gaps = gaps;
    const before = new Map(this.#waiting.map((waiting) => [waiting.origin, waiting]));
    const waiting = gaps.map((gap): Waiting => {
      const known = before.get(gap.origin);
      before.delete(gap.origin);
      const { origin, expected, found, seq, reason } = gap;
      if (known?.expected === expected) return known.found === found ? known : { ...known, found };
      // The rest of what was missing: it comes.
      if (known?.seq === seq) return { origin, expected, found, seq, reason, sinceMs: known.sinceMs };
      this.logger.warn(
        { origin, expected, found, seq },
        `Waiting for ${origin}:${expected}: ${sentence(reason)}`,
      );
      return { origin, expected, found, seq, reason, sinceMs: this.clock.nowMs() };
    });
    for (const { origin, expected } of before.values())
      this.logger.info({ origin, expected }, `No longer waiting for ${origin}:${expected}.`);
    this.#waiting = waiting.sort((a, b) => a.seq - b.seq);
    this.#changed();
  }

  /** Nobody tries any more what these alarms are about. */
  reignEnded(): void {
    for (const name of OF_A_REIGN) this.clearAlarm(name);
  }

  /** Logged when it begins; later only counted. At most MAX_ALARMS kinds are kept. */
  alarm(name: AlarmName, message: string): void {
    if (!this.replicating && STOPPED_BY_STALL.has(name)) return;
    const known = this.#alarms.get(name);
    if (known !== undefined) {
      known.count++;
      known.message = message;
    } else if (this.#alarms.size < MAX_ALARMS) {
      this.#alarms.set(name, { message, sinceMs: this.clock.nowMs(), count: 1 });
      this.logger.warn({ alarm: name }, message);
      this.#changed();
    }
  }

  isAlarmed(name: AlarmName): boolean {
    return this.#alarms.has(name);
  }

  clearAlarm(name: AlarmName): void {
    if (!this.#alarms.delete(name)) return;
    this.logger.info({ alarm: name }, 'The alarm is over.');
    this.#changed();
  }
}
