import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { manualClock, type ManualClock } from '../../test/manual-clock.js';
import { HybridClock } from './hybrid-clock.js';
import { durationText, LogClock } from './log-clock.js';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 6, 3, 10);

/** The log shows `logMs` in the middle of a round trip of 20 ms. */
function readAt(clock: ManualClock, log: LogClock, logMs: number): void {
  const askedAtMs = clock.monotonicMs();
  clock.pass(20);
  log.read({ logMs, askedAtMs, answeredAtMs: clock.monotonicMs() });
}

function started(logAheadMs = 0): { clock: ManualClock; log: LogClock } {
  const clock = manualClock(START_MS);
  const log = new LogClock(clock, { maxSkewMs: 300_000 });
  readAt(clock, log, START_MS + 10 + logAheadMs);
  return { clock, log };
}

describe('LogClock', () => {
  it('carries the clock of the log on, as exactly as the round trip was short', () => {
    const { clock, log } = started(5000);
    expect(log.window()).toEqual({ earliestMs: START_MS + 5010, latestMs: START_MS + 5030 });
    clock.pass(60_000);
    expect(log.window()).toEqual({ earliestMs: START_MS + 65_010, latestMs: START_MS + 65_030 });
    expect(log.ageMs).toBe(60_000);
  });

  it('claims no difference that the round trip may explain', () => {
    expect(started().log.skewMs()).toBe(0);
    expect(started(9).log.skewMs()).toBe(0);
    expect(started(30).log.skewMs()).toBe(-20);
    expect(started(-30).log.skewMs()).toBe(20);
  });

  it('knows nothing before the first reading, and refuses nothing', () => {
    const log = new LogClock(manualClock(START_MS), { maxSkewMs: 1 });
    expect(log.window()).toBeUndefined();
    expect(log.skewMs()).toBe(0);
    expect(log.nowMs()).toBe(START_MS);
  });

  it('refuses to give times while the wall clock is too far ahead, without another look at the log', () => {
    const { clock, log } = started();
    clock.wallMs += 299_000;
    expect(log.refusal()).toBeUndefined();
    clock.wallMs += 2 * DAY_MS;
    expect(codeThrownBy(() => log.nowMs())).toBe('CLOCK_SKEW');
    clock.wallMs -= 2 * DAY_MS;
    expect(log.nowMs()).toBe(clock.wallMs);
  });

  it('names both clocks, how far they are apart, and what to do', () => {
    const { clock, log } = started();
    clock.wallMs += 2 * DAY_MS + 3 * 3_600_000;
    const { message, retriable, context } = log.refusal()!;
    expect(retriable).toBe(true);
    expect(message).toContain("clock shows 2026-07-05T13:00:00.020Z and the log's 2026-07-03T10:00:00.030Z");
    expect(message).toContain('it is 2 d 3 h ahead, and the limit is 5 min');
    expect(message).toContain('writes resume automatically');
    expect(context).toMatchObject({ limitMs: 300_000 });
  });

  it('lets a clock that is behind give times: a hybrid clock follows what it sees', () => {
    const { clock, log } = started();
    clock.wallMs -= 2 * DAY_MS;
    expect(log.skewMs()).toBeLessThan(-2 * DAY_MS + 100);
    expect(log.nowMs()).toBe(clock.wallMs);
  });

  it('does not take the end of a sleep for a jump of the wall clock', () => {
    const { clock, log } = started();
    clock.wallMs += 8 * 3_600_000;
    clock.sleptMs += 8 * 3_600_000;
    expect(log.skewMs()).toBe(0);
    expect(log.nowMs()).toBe(clock.wallMs);
    clock.wallMs += DAY_MS;
    expect(codeThrownBy(() => log.nowMs())).toBe('CLOCK_SKEW');
  });

  it('judges by the newest reading: the clock of the log itself may have been set', () => {
    const { clock, log } = started();
    readAt(clock, log, clock.wallMs - 2 * DAY_MS);
    expect(log.refusal()?.code).toBe('CLOCK_SKEW');
    readAt(clock, log, clock.wallMs + 10);
    expect(log.refusal()).toBeUndefined();
  });

  it('A.3: a hybrid clock that asks it does not follow a wall clock that was once two days ahead', () => {
    const { clock, log } = started();
    const hybrid = new HybridClock(clock, log);
    const before = hybrid.tick();
    clock.wallMs += 2 * DAY_MS;
    expect(codeThrownBy(() => hybrid.tick())).toBe('CLOCK_SKEW');
    expect(codeThrownBy(() => hybrid.tickAt(START_MS))).toBe('CLOCK_SKEW');
    expect(hybrid.last).toBe(before);
    clock.wallMs -= 2 * DAY_MS - 500;
    clock.awakeMs += 500;
    expect(hybrid.tick()).toBe(clock.wallMs * 1000);
  });
});

describe('durationText', () => {
  it('shows the two largest units', () => {
    const texts = [0, 300, 48_000, 61_400, 300_000, 2 * DAY_MS + 3 * 3_600_000, -DAY_MS].map(durationText);
    expect(texts).toEqual(['0 ms', '300 ms', '48 s', '1 min 1 s', '5 min', '2 d 3 h', '1 d']);
  });
});
