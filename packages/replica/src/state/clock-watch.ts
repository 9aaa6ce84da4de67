import {
  type AlarmName,
  AntiphonError,
  type Beat,
  type Clock,
  durationText,
  type HybridClock,
  type Log,
  LogClock,
  sentence,
} from '@antiphon/core';
import type { Health } from './health.js';
import type { ReplicaLimits } from '../config/limits.js';

/** Between two readings of the log's clock: in between, our monotonic clock carries it on. */
const READ_EVERY_MS = 10_000;
/** While something is wrong, so that its end is noticed soon. */
const READ_AGAIN_MS = 1000;
/** No reading for so long, with a connection: said in `status`. */
const UNREAD_ALARM_MS = 6 * READ_EVERY_MS;
/** A member that was silent for longer says nothing about its clock any more. */
const BEATS_HEEDED = 10;
/** More origins than this are not watched: beats are not made for larger clusters. */
const MAX_ORIGINS = 1024;

/** This machine's clock, compared with the log's. */
export interface ClockStatus {
  /**
   * How far it is ahead of the log's clock, negative when behind, as far as that is certain;
   * milliseconds.
   */
  readonly aheadOfLogMs: number;
  /** How long ago the log's clock was last read, in milliseconds; absent before that. */
  readonly readAgoMs?: number;
  /**
   * How far the times that changes get are ahead of this machine's clock, in milliseconds; 0 when
   * they follow it.
   */
  readonly hybridAheadMs: number;
  /** No change is given a time: this machine's clock is too far ahead. */
  readonly refusing: boolean;
}

interface WatchedOrigin {
  /** By its last beat, its wall clock less that of the log. */
  skewMs: number;
  /** Monotonic. */
  heardAtMs: number;
  /** The latest hybrid time among its changes, milliseconds. */
  latestMs: number;
}

export interface ClockWatchDeps {
  readonly id: string;
  readonly log: Pick<Log, 'timeMs' | 'connection'>;
  readonly clock: Clock;
  readonly health: Health;
  readonly limits: Pick<ReplicaLimits, 'maxClockSkewMs' | 'clockRefusalMs' | 'clockAlarmMs' | 'beatMs'>;
}

/**
 * Compares clocks with the log's, which all replicas share: this machine's, those of the other
 * members, and the times that changes carry. What it finds is alarmed for as long as it lasts, and
 * a clock that is too far ahead gives no times (CLOCK_SKEW).
 */
export class ClockWatch {
  readonly logClock: LogClock;
  readonly #origins = new Map<string, WatchedOrigin>();
  readonly #startedAtMs: number;
  #followed: { readonly hybrid: Pick<HybridClock, 'last'>; readonly refusalMs: number } | undefined;
  #readAtMs = -Infinity;
  #reading = false;
  #failure: AntiphonError | undefined;

  constructor(private readonly deps: ClockWatchDeps) {
    const { clock, limits } = deps;
    const { maxClockSkewMs, clockRefusalMs } = limits;
    this.logClock = new LogClock(clock, { maxSkewMs: Math.min(maxClockSkewMs, clockRefusalMs / 2) });
    this.#startedAtMs = clock.monotonicMs();
  }

  /** Why no change may be given a time now; undefined when it may. */
  get refusal(): AntiphonError | undefined {
    return this.logClock.refusal() ?? this.#timesRefusal();
  }

  /**
   * Where times decide who wins, others refuse changes whose times are further ahead of the log
   * than `refusalMs`: none is given such a time. That needs no wrong clock any more: all of them,
   * and the log's, may have been ahead for a moment.
   */
  follow(hybrid: Pick<HybridClock, 'last'>, refusalMs: number): void {
    this.#followed = { hybrid, refusalMs };
  }

  /** This machine's wall clock, to give times from. Throws CLOCK_SKEW while it must not. */
  nowMs(): number {
    this.assertInStep();
    return this.deps.clock.nowMs();
  }

  #timesRefusal(): AntiphonError | undefined {
    const window = this.logClock.window();
    if (window === undefined || this.#followed === undefined) return undefined;
    const { hybrid, refusalMs } = this.#followed;
    const aheadMs = hybrid.last / 1000 - window.earliestMs;
    if (aheadMs <= refusalMs) return undefined;
    const waitMs = aheadMs - refusalMs;
    return new AntiphonError(
      'CLOCK_SKEW',
      `The newest time in this database is ${durationText(aheadMs)} ahead of the log's clock: ` +
        'clocks of this cluster were ahead, and were set back. ' +
        `The replicas refuse changes that are more than ${durationText(refusalMs)} ahead, ` +
        'so none is given a time, and none is lost. ' +
        `Writes resume automatically in ${durationText(waitMs)}. To resume sooner, ` +
        'stop all replicas and raise the limit with `antiphon settings set clockRefusalMs`.',
      { context: { aheadMs: Math.round(aheadMs), limitMs: refusalMs } },
    );
  }

  /** Throws CLOCK_SKEW. */
  assertInStep(): void {
    const { refusal } = this;
    if (refusal !== undefined) throw refusal;
  }

  /** Throws LOG_UNAVAILABLE, LOG_REPLACED, ABORTED. */
  async read(signal?: AbortSignal): Promise<void> {
    const { log, clock } = this.deps;
    const askedAtMs = clock.monotonicMs();
    this.#readAtMs = askedAtMs;
    const logMs = await log.timeMs(signal);
    this.logClock.read({ logMs, askedAtMs, answeredAtMs: clock.monotonicMs() });
    this.#failure = undefined;
  }

  /**
   * At each beat; reads the log's clock when it is time to. `unsealed`: captured changes that wait
   * for a time.
   */
  look(hybrid: HybridClock, unsealed: () => number, signal?: AbortSignal): void {
    this.#alarm(hybrid, unsealed);
    const sinceMs = this.deps.clock.monotonicMs() - this.#readAtMs;
    const everyMs = this.refusal === undefined && this.#failure === undefined ? READ_EVERY_MS : READ_AGAIN_MS;
    if (this.#reading || sinceMs < everyMs || this.deps.log.connection !== 'connected') return;
    this.#reading = true;
    this.read(signal)
      .then(() => this.#alarm(hybrid, unsealed))
      .catch((error: unknown) => {
        if (!(error instanceof AntiphonError)) throw error;
        this.#failure = error;
      })
      .finally(() => (this.#reading = false));
  }

  /**
   * Its beat says what its clock shows; it may have been under way for a while, so only a clock
   * that is ahead is certain.
   */
  heard(beat: Beat): void {
    const window = this.logClock.window();
    if (window === undefined) return;
    const origin = this.#origin(beat.id);
    if (origin === undefined) return;
    origin.skewMs = beat.nowMs - window.latestMs;
    origin.heardAtMs = this.deps.clock.monotonicMs();
  }

  /**
   * Changes of this origin carry this hybrid time (microseconds), which is ahead of when the log
   * stored them.
   */
  sawAhead(id: string, time: number): void {
    const origin = this.#origin(id);
    if (origin !== undefined) origin.latestMs = Math.max(origin.latestMs, time / 1000);
  }

  status(hybrid: HybridClock): ClockStatus {
    const { ageMs } = this.logClock;
    return {
      aheadOfLogMs: Math.round(this.logClock.skewMs()),
      ...(ageMs !== undefined && { readAgoMs: Math.round(ageMs) }),
      hybridAheadMs: this.#hybridAheadMs(hybrid),
      refusing: this.refusal !== undefined,
    };
  }

  #hybridAheadMs(hybrid: HybridClock): number {
    return Math.max(0, Math.round(hybrid.last / 1000 - this.deps.clock.nowMs()));
  }

  #origin(id: string): WatchedOrigin | undefined {
    const known = this.#origins.get(id);
    if (known !== undefined || this.#origins.size >= MAX_ORIGINS) return known;
    const origin = { skewMs: 0, heardAtMs: -Infinity, latestMs: 0 };
    this.#origins.set(id, origin);
    return origin;
  }

  #alarm(hybrid: HybridClock, unsealed: () => number): void {
    this.#set('clock', this.#ownClock(unsealed));
    this.#set('hybrid-clock', this.#ownTimes(hybrid));
    this.#set('clock-reading', this.#unread());
    for (const [id, origin] of this.#origins) this.#set(`clock ${id}`, this.#clockOf(id, origin));
  }

  #set(name: AlarmName, message: string | undefined): void {
    const { health } = this.deps;
    if (message === undefined) health.clearAlarm(name);
    else health.alarm(name, message);
  }

  #ownClock(unsealed: () => number): string | undefined {
    const { refusal } = this;
    if (refusal !== undefined) {
      const waiting = unsealed();
      return waiting === 0
        ? refusal.message
        : `${refusal.message} ${waiting} changes of other programs wait in the outbox.`;
    }
    const skewMs = this.logClock.skewMs();
    if (Math.abs(skewMs) <= this.deps.limits.clockAlarmMs) return undefined;
    const [where, what] =
      skewMs > 0
        ? ['ahead of', 'its changes win over later ones of other replicas']
        : ['behind', 'its changes lose against earlier ones of other replicas that it has not seen'];
    const skew = `${durationText(skewMs)} ${where} the log's`;
    return `This machine's clock is ${skew}, and ${what}. Set it, and keep it synchronized (NTP).`;
  }

  #ownTimes(hybrid: HybridClock): string | undefined {
    const aheadMs = this.#hybridAheadMs(hybrid);
    if (aheadMs <= this.deps.limits.clockAlarmMs) return undefined;
    return (
      `Changes are given times that are ${durationText(aheadMs)} ahead of this machine's clock: ` +
      'it was set back, or a change with such a time was seen. They stay in order. Until the clock has ' +
      'caught up, they win over concurrent changes of replicas that have not seen such times.'
    );
  }

  #unread(): string | undefined {
    const { clock, log } = this.deps;
    const unreadMs = this.logClock.ageMs ?? clock.monotonicMs() - this.#startedAtMs;
    if (this.#failure === undefined || unreadMs < UNREAD_ALARM_MS || log.connection !== 'connected')
      return undefined;
    const since = durationText(unreadMs);
    return `The log's clock could not be read for ${since}, so clock differences are noticed late: ${sentence(this.#failure.message)}`;
  }

  #clockOf(id: string, { skewMs, heardAtMs, latestMs }: WatchedOrigin): string | undefined {
    const { clock, limits } = this.deps;
    const window = this.logClock.window();
    if (window === undefined || id === this.deps.id) return undefined;
    const isHeard = clock.monotonicMs() - heardAtMs < BEATS_HEEDED * limits.beatMs;
    if (isHeard && skewMs > limits.clockAlarmMs)
      return `The clock of ${id} is ${durationText(skewMs)} ahead of the log's. Set it, and keep it synchronized (NTP).`;
    const aheadMs = latestMs - window.latestMs;
    if (aheadMs <= limits.clockAlarmMs) return undefined;
    return (
      `Changes of ${id} carry times that are ${durationText(aheadMs)} ahead of the log's clock, ` +
      `and win over concurrent ones until then. Check the clock of ${id}.`
    );
  }
}
