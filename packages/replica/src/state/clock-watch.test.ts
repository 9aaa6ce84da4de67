import { AntiphonError, type Beat, type Clock, HybridClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClockWatch } from './clock-watch.js';
import { Health } from './health.js';
import { DEFAULT_LIMITS } from '../config/limits.js';
import { silentLogger } from '../config/logger.js';

const START_MS = Date.UTC(2026, 6, 3, 10);
const HOUR_MS = 3_600_000;

/** One machine and one log, whose clocks are set by hand. */
class World {
  wallMs = START_MS;
  logMs = START_MS;
  awakeMs = 0;
  reads = 0;
  failure: AntiphonError | undefined;
  connection: 'connected' | 'disconnected' = 'connected';
  unsealed = 0;
  readonly clock: Clock = {
    nowMs: () => this.wallMs,
    monotonicMs: () => this.awakeMs,
    setTimer: () => ({ cancel: () => undefined }),
    yield: () => Promise.resolve(),
    random: () => 0,
  };
  readonly health = new Health(() => 'primary', this.clock, silentLogger);
  readonly watch: ClockWatch;
  readonly hybrid: HybridClock;

  constructor() {
    const timeMs = (): Promise<number> => {
      this.reads++;
      return this.failure === undefined ? Promise.resolve(this.logMs) : Promise.reject(this.failure);
    };
    const { clock, health } = this;
    const connection = (): 'connected' | 'disconnected' => this.connection;
    const log = {
      timeMs,
      get connection() {
        return connection();
      },
    };
    this.watch = new ClockWatch({ id: 'me', log, clock, health, limits: DEFAULT_LIMITS });
    this.hybrid = new HybridClock(clock, this.watch);
  }

  pass(ms: number): void {
    this.wallMs += ms;
    this.logMs += ms;
    this.awakeMs += ms;
  }

  /** A beat of this replica, and what is read at it. */
  async beat(): Promise<void> {
    this.watch.look(this.hybrid, () => this.unsealed);
    await new Promise((resolve) => setImmediate(resolve));
  }

  alarm(name: string): string | undefined {
    return this.health.alarms.find((alarm) => alarm.name === name)?.message;
  }

  heard(id: string, aheadMs: number): void {
    this.watch.heard({ id, nowMs: this.logMs + aheadMs } as Beat);
  }
}

async function started(): Promise<World> {
  const world = new World();
  await world.watch.read();
  return world;
}

describe('ClockWatch', () => {
  it('reads the clock of the log now and then, and more often while this clock is wrong', async () => {
    const world = await started();
    for (let beat = 0; beat < 20; beat++) {
      world.pass(1000);
      await world.beat();
    }
    expect(world.reads).toBe(3);
    world.wallMs += HOUR_MS;
    for (let beat = 0; beat < 5; beat++) {
      world.pass(1000);
      await world.beat();
    }
    expect(world.reads).toBe(8);
  });

  it('alarms with what waits, for as long as this clock is too far ahead', async () => {
    const world = await started();
    world.wallMs += 48 * HOUR_MS;
    world.unsealed = 7;
    await world.beat();
    expect(world.alarm('clock')).toContain('it is 2 d ahead');
    expect(world.alarm('clock')).toContain('7 changes of other programs wait in the outbox');
    expect(world.watch.status(world.hybrid)).toEqual({
      ...{ aheadOfLogMs: 48 * HOUR_MS, readAgoMs: 0, hybridAheadMs: 0, refusing: true },
    });
    expect(() => world.watch.assertInStep()).toThrow(/No change is given a time/);
    world.wallMs -= 48 * HOUR_MS;
    await world.beat();
    expect(world.alarm('clock')).toBeUndefined();
    world.watch.assertInStep();
  });

  it('A.3: gives no times that others refuse, though all clocks are right again', async () => {
    const world = await started();
    world.watch.follow(world.hybrid, 24 * HOUR_MS);
    world.hybrid.observe((START_MS + 48 * HOUR_MS) * 1000);
    expect(() => world.hybrid.tick()).toThrow(/48 h ahead|2 d ahead of the log's clock.*in 1 d/s);
    await world.beat();
    expect(world.alarm('clock')).toContain('antiphon settings set clockRefusalMs');
    const { last } = world.hybrid;
    world.pass(24 * HOUR_MS);
    await world.beat();
    expect(world.alarm('clock')).toBeUndefined();
    expect(world.hybrid.tick()).toBe(last + 1);
  });

  it('alarms of a clock that differs less, and says what follows', async () => {
    const world = await started();
    world.wallMs += 2 * 60_000;
    await world.beat();
    expect(world.alarm('clock')).toContain('is 2 min ahead of the log');
    world.wallMs -= 4 * 60_000;
    await world.beat();
    expect(world.alarm('clock')).toContain('is 2 min behind the log');
    expect(world.alarm('clock')).toContain('lose against earlier ones');
    world.watch.assertInStep();
  });

  it('follows the clock of the log when that is set, and names both', async () => {
    const world = await started();
    world.logMs -= 48 * HOUR_MS;
    world.pass(10_000);
    await world.beat();
    expect(world.alarm('clock')).toContain('2026-07-03T10:00:10.000Z and the log');
    expect(world.alarm('clock')).toContain('2026-07-01T10:00:10.000Z');
    expect(world.alarm('clock')).toContain("or the NATS server's if other replicas say the same");
    world.logMs += 48 * HOUR_MS;
    world.pass(1000);
    await world.beat();
    expect(world.alarm('clock')).toBeUndefined();
  });

  it('goes on while the log does not answer, and says when its clock cannot be read', async () => {
    const world = await started();
    world.failure = new AntiphonError('LOG_UNAVAILABLE', 'no answer');
    for (let beat = 0; beat < 50; beat++) {
      world.pass(1000);
      await world.beat();
    }
    expect(world.alarm('clock-reading')).toBeUndefined();
    for (let beat = 0; beat < 20; beat++) {
      world.pass(1000);
      await world.beat();
    }
    expect(world.alarm('clock-reading')).toContain('no answer');
    world.watch.assertInStep();
    world.failure = undefined;
    world.pass(1000);
    await world.beat();
    await world.beat();
    expect(world.alarm('clock-reading')).toBeUndefined();
    world.connection = 'disconnected';
    const { reads } = world;
    world.pass(60_000);
    await world.beat();
    expect(world.reads).toBe(reads);
  });

  it('alarms when times of changes run ahead of this clock, until it has caught up', async () => {
    const world = await started();
    world.hybrid.tick();
    world.wallMs -= 2 * HOUR_MS;
    await world.beat();
    expect(world.alarm('hybrid-clock')).toContain('2 h ahead');
    expect(world.hybrid.tick()).toBe(START_MS * 1000 + 1);
    world.pass(2 * HOUR_MS);
    await world.beat();
    expect(world.alarm('hybrid-clock')).toBeUndefined();
  });

  it('names a member whose clock is ahead, until its beats say otherwise or do not come', async () => {
    const world = await started();
    world.heard('r2', 3 * HOUR_MS);
    world.heard('r3', 200);
    await world.beat();
    expect(world.alarm('clock r2')).toContain('The clock of r2 is 3 h ahead');
    expect(world.alarm('clock r3')).toBeUndefined();
    world.heard('r2', -5);
    await world.beat();
    expect(world.alarm('clock r2')).toBeUndefined();
    world.heard('r2', 3 * HOUR_MS);
    world.pass(20_000);
    await world.beat();
    expect(world.alarm('clock r2')).toBeUndefined();
  });

  it('names an origin whose changes carry times ahead, until that time has come', async () => {
    const world = await started();
    world.watch.sawAhead('r2', (world.logMs + 10 * 60_000) * 1000);
    world.watch.sawAhead('r2', (world.logMs + 2 * 60_000) * 1000);
    await world.beat();
    expect(world.alarm('clock r2')).toContain('Changes of r2 carry times that are 10 min ahead');
    world.pass(9 * 60_000);
    await world.beat();
    expect(world.alarm('clock r2')).toBeUndefined();
  });
});
