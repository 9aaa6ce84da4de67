import { AntiphonError } from '../errors/antiphon-error.js';
import type { Clock } from '../ports/clock.js';

/**
 * What the log's clock showed at some moment between the question and its answer, both by our
 * monotonic clock.
 */
export interface LogClockReading {
  readonly logMs: number;
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}

export interface LogClockOptions {
  /** A wall clock that is ahead of the log's by more than this gives no time. */
  readonly maxSkewMs: number;
}

/** Less than this is the resolution of `uptimeMs`, not sleep. */
const SHORTEST_SLEEP_MS = 1000;

/**
 * The log's clock, carried on from its last reading by our monotonic clock, and how far our wall
 * clock is from it. So a wall clock that jumps is noticed at once, also while the log does not
 * answer. All replicas of a cluster read the same clock: it is the one reference that they have in
 * common.
 */
export class LogClock {
  #reading: LogClockReading | undefined;
  #readAtUptimeMs = 0;

  constructor(
    private readonly clock: Pick<Clock, 'nowMs' | 'monotonicMs' | 'uptimeMs'>,
    readonly options: LogClockOptions,
  ) {}

  read(reading: LogClockReading): void {
    this.#reading = reading;
    this.#readAtUptimeMs = this.clock.uptimeMs?.() ?? 0;
  }

  /** Since the last reading; undefined before the first. */
  get ageMs(): number | undefined {
    return this.#reading && this.clock.monotonicMs() - this.#reading.answeredAtMs;
  }

  /**
   * What the log's clock shows now: not less and not more than this. undefined before the first
   * reading.
   */
  window(
    wallMs = this.clock.nowMs(),
  ): { readonly earliestMs: number; readonly latestMs: number } | undefined {
    const reading = this.#reading;
    if (reading === undefined) return undefined;
    const { logMs, askedAtMs, answeredAtMs } = reading;
    const nowMs = this.clock.monotonicMs();
    const earliestMs = logMs + nowMs - answeredAtMs;
    const latestMs = logMs + nowMs - askedAtMs;
    // Asking for the uptime costs a system call: only when there is something to explain.
    if (wallMs - latestMs < SHORTEST_SLEEP_MS) return { earliestMs, latestMs };
    const sleptMs = this.#sleptMs(nowMs - answeredAtMs);
    return { earliestMs: earliestMs + sleptMs, latestMs: latestMs + sleptMs };
  }

  /**
   * Most monotonic clocks stand still while the machine sleeps; its wall clock has not jumped then.
   */
  #sleptMs(awakeMs: number): number {
    if (this.clock.uptimeMs === undefined) return 0;
    const sleptMs = this.clock.uptimeMs() - this.#readAtUptimeMs - awakeMs;
    return sleptMs < SHORTEST_SLEEP_MS ? 0 : sleptMs;
  }

  /**
   * How far our wall clock is ahead of the log's, negative when it is behind, as far as that is
   * certain. 0 before the first reading.
   */
  skewMs(wallMs = this.clock.nowMs()): number {
    const window = this.window(wallMs);
    if (window === undefined) return 0;
    if (wallMs > window.latestMs) return wallMs - window.latestMs;
    return Math.min(0, wallMs - window.earliestMs);
  }

  /** Why our wall clock must not give times now; undefined when it may. */
  refusal(wallMs = this.clock.nowMs()): AntiphonError | undefined {
    const skewMs = this.skewMs(wallMs);
    const { maxSkewMs } = this.options;
    if (skewMs <= maxSkewMs) return undefined;
    return new AntiphonError(
      'CLOCK_SKEW',
      `This machine's clock shows ${instant(wallMs)} and the log's ${instant(wallMs - skewMs)}: it is ${durationText(skewMs)} ahead, ` +
        `and the limit is ${durationText(maxSkewMs)}. No change is given a time meanwhile, and none is lost. ` +
        "Set this machine's clock, or the NATS server's if other replicas say the same; writes resume automatically.",
      { context: { aheadMs: Math.round(skewMs), limitMs: maxSkewMs } },
    );
  }

  /** Our wall clock. Throws CLOCK_SKEW while it must not give times. */
  nowMs(): number {
    const wallMs = this.clock.nowMs();
    const refusal = this.refusal(wallMs);
    if (refusal !== undefined) throw refusal;
    return wallMs;
  }
}

function instant(ms: number): string {
  // Beyond what a date can hold there is nothing to read in it.
  return Math.abs(ms) > 8.64e15 ? `${Math.round(ms)} ms` : new Date(ms).toISOString();
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const;

/** For messages: the two largest units at most, e.g. `2 d 3 h`, `48 s`, `300 ms`. */
export function durationText(ms: number): string {
  const wholeMs = Math.round(Math.abs(ms));
  // Else 3 h less a moment would read 2 h.
  let left = wholeMs < 60_000 ? wholeMs : Math.round(wholeMs / 1000) * 1000;
  const parts: string[] = [];
  for (const [unit, unitMs] of UNITS) {
    const count = Math.floor(left / unitMs);
    if (count === 0 && parts.length === 0) continue;
    if (parts.length < 2 && count > 0) parts.push(`${count} ${unit}`);
    else break;
    left -= count * unitMs;
  }
  return parts.length === 0 ? `${left} ms` : parts.join(' ');
}
