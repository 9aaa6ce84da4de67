import { AntiphonError, decodeControl } from '@antiphon/core';
import { memoryLog, memoryRegistry, VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../config/limits.js';
import { silentLogger } from '../config/logger.js';
import { Health } from '../state/health.js';
import { Positions } from '../state/positions.js';
import type { Scope } from '../state/scope.js';
import { IN_SYNC_KEY, InSyncSet } from '../sync/in-sync-set.js';
import type { Sync } from '../sync/sync.js';
import { InSyncKeeper } from './in-sync-keeper.js';

const BEAT_MS = DEFAULT_LIMITS.beatMs;
const LAG_MS = DEFAULT_LIMITS.inSyncLagMs;

interface Heard {
  readonly id: string;
  lastSeenMs: number;
  appliedSeq: number;
}

/** The keeper of `a`, a writer unless told otherwise, on a real set in a log of its own. */
class Bench {
  readonly clock = new VirtualClock();
  readonly health = new Health(() => 'primary', this.clock, silentLogger);
  readonly position = { generation: 'g', seq: 0 };
  readonly positions = new Positions(() => ({ position: this.position, gaps: [] }), this.clock);
  readonly registry = memoryRegistry({ clock: this.clock }).connect();
  readonly #log = memoryLog({ clock: this.clock }).connect();
  readonly inSync = new InSyncSet({
    ...{ id: 'a', instance: 'x', clock: this.clock, logger: silentLogger },
    ...{ log: this.#log, registry: this.registry },
  });
  readonly others: Heard[] = [];
  late: readonly string[] = [];
  readonly keeper: InSyncKeeper;

  private constructor(readonly mayWrite: boolean) {
    const { health, positions, clock, inSync } = this;
    const { others } = this;
    const scope = {
      ...{ id: 'a', health, positions, clock, limits: DEFAULT_LIMITS },
      authority: { current: () => ({ mayWrite }) },
      members: {
        get all() {
          return others.map((heard) => memberOf(heard));
        },
      },
    };
    const sync = { inSync, acker: { late: () => this.late }, needed: 2, degraded: false };
    this.keeper = new InSyncKeeper(scope as unknown as Scope, sync as unknown as Sync);
  }

  static async open(mayWrite = true): Promise<Bench> {
    const bench = new Bench(mayWrite);
    await bench.clock.run(bench.#log.open({ create: true }));
    bench.health.handle('agreed');
    bench.health.handle('installed');
    bench.health.handle('caught-up');
    return bench;
  }

  async are(...members: readonly string[]): Promise<void> {
    await this.clock.run(this.inSync.propose(() => members, 'a test'));
  }

  /** Beats for so long, heard by this replica itself unless it is deaf. */
  async beats(count: number, isDeaf = false): Promise<void> {
    for (let n = 0; n < count; n++) {
      await this.clock.advance(BEAT_MS);
      if (!isDeaf) this.keeper.heardOwn();
      await this.clock.run(this.keeper.keep());
    }
  }

  hears(id: string): Heard {
    const heard = { id, lastSeenMs: this.clock.monotonicMs(), appliedSeq: 0 };
    this.others.push(heard);
    return heard;
  }

  get alarmed(): boolean {
    return this.health.isAlarmed('in-sync');
  }
}

function memberOf({ id, lastSeenMs, appliedSeq }: Heard): unknown {
  return { record: { id }, lastSeenMs, beat: { appliedSeq } };
}

describe('the keeper of the in-sync set', () => {
  it('I6: comes in once it has all that the log holds, and not before', async () => {
    const bench = await Bench.open(false);
    bench.positions.sawEnd(5);
    bench.position.seq = 4;
    await bench.beats(1);
    expect(bench.inSync.members).toEqual([]);
    bench.position.seq = 5;
    await bench.beats(1);
    expect(bench.inSync.members).toEqual(['a']);
  });

  it('I6: leaves when it has stalled for a second, and says why', async () => {
    const bench = await Bench.open(false);
    await bench.are('a', 'b');
    bench.health.stall(new AntiphonError('STORE_CORRUPT', 'made up'));
    await bench.clock.run(bench.keeper.keep());
    await bench.clock.advance(999);
    await bench.clock.run(bench.keeper.keep());
    expect(bench.inSync.members).toEqual(['a', 'b']);
    await bench.clock.advance(1);
    await bench.clock.run(bench.keeper.keep());
    expect(bench.inSync.members).toEqual(['b']);
  });

  it('I6: leaves for a hole too, but not for one that is filled in time', async () => {
    const bench = await Bench.open(false);
    await bench.are('a', 'b');
    const gap = { origin: 'b', expected: 7, found: 8, seq: 3, reason: 'it was lost' };
    // Nor does it come back while it lacks something.
    bench.positions.sawEnd(5);
    bench.position.seq = 2;
    bench.health.wait([gap] as never);
    await bench.clock.run(bench.keeper.keep());
    bench.health.wait([]);
    await bench.beats(1);
    bench.health.wait([gap] as never);
    await bench.beats(1);
    expect(bench.inSync.members).toEqual(['a', 'b']);
    await bench.beats(2);
    expect(bench.inSync.members).toEqual(['b']);
  });

  it('I14: writes nothing into a log that is not its own any more', async () => {
    const bench = await Bench.open(false);
    await bench.are('a', 'b');
    bench.health.stall(new AntiphonError('LOG_REPLACED', 'made up'));
    await bench.beats(5);
    expect(bench.inSync.members).toEqual(['a', 'b']);
  });

  it('I6: does nothing when its replica has ended', async () => {
    const bench = await Bench.open();
    bench.health.handle('close');
    await bench.beats(5);
    expect(bench.inSync.seq).toBe(0);
  });

  it('I6: a writer takes out who was silent for too long, and who holds up a write', async () => {
    const bench = await Bench.open();
    await bench.are('a', 'b', 'c');
    const b = bench.hears('b');
    const c = bench.hears('c');
    const beats = Math.ceil(LAG_MS / BEAT_MS);
    for (let n = 0; n <= beats; n++) {
      b.lastSeenMs = bench.clock.monotonicMs();
      await bench.beats(1);
    }
    await bench.beats(1);
    expect(bench.inSync.members).toEqual(['a', 'b']);
    c.lastSeenMs = Infinity;
    b.lastSeenMs = Infinity;
    bench.late = ['b', 'a'];
    await bench.beats(1);
    // Never itself.
    expect(bench.inSync.members).toEqual(['a']);
  });

  it('I6: a writer takes out who is behind where the writer was so long ago', async () => {
    const bench = await Bench.open();
    await bench.are('a', 'b');
    const b = bench.hears('b');
    b.lastSeenMs = Infinity;
    bench.position.seq = 10;
    b.appliedSeq = 9;
    await bench.beats(3);
    expect(bench.inSync.members).toEqual(['a', 'b']);
    await bench.beats(2);
    expect(bench.inSync.members).toEqual(['a']);
  });

  it('I6: who hears not even itself says nothing about others', async () => {
    const bench = await Bench.open();
    await bench.are('a', 'b');
    bench.hears('b');
    await bench.beats(20, true);
    expect(bench.inSync.members).toEqual(['a', 'b']);
    // And not at once when it hears again: the others get their time.
    await bench.beats(2);
    expect(bench.inSync.members).toEqual(['a', 'b']);
  });

  it('I6: who may not write takes nobody out, and raises no alarm', async () => {
    const bench = await Bench.open(false);
    await bench.are('a', 'b');
    bench.hears('b');
    bench.late = ['b'];
    await bench.beats(10);
    expect(bench.inSync.members).toEqual(['a', 'b']);
    await bench.are('a');
    bench.keeper.alarm();
    expect(bench.alarmed).toBe(false);
  });

  it('alarms a shortfall at once, and ends the alarm by itself', async () => {
    const bench = await Bench.open();
    bench.keeper.alarm();
    // Before there is a record, nothing has fallen short.
    expect(bench.alarmed).toBe(false);
    await bench.are('a');
    bench.keeper.alarm();
    expect(bench.alarmed).toBe(true);
    await bench.are('a', 'b');
    bench.keeper.alarm();
    expect(bench.alarmed).toBe(false);
  });

  it('shows the set in the registry when it has changed', async () => {
    const bench = await Bench.open();
    await bench.are('a', 'b');
    await bench.beats(1);
    const shown = async (): Promise<unknown> => {
      const entry = await bench.clock.run(bench.registry.get(IN_SYNC_KEY));
      return entry && decodeControl(entry.value);
    };
    expect(await shown()).toMatchObject({ members: ['a', 'b'], degraded: false });
    await bench.are('a', 'b', 'c');
    await bench.beats(1);
    expect(await shown()).toMatchObject({ members: ['a', 'b', 'c'] });
  });
});
