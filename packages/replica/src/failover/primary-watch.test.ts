import { VirtualClock } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../config/limits.js';
import { silentLogger } from '../config/logger.js';
import { Health } from '../state/health.js';
import { PrimaryWatch } from './primary-watch.js';

const BEAT_MS = DEFAULT_LIMITS.beatMs;

/** Of `b`, where `a` is the primary. */
class Bench {
  readonly clock = new VirtualClock();
  readonly health = new Health(() => 'replica', this.clock, silentLogger);
  readonly log = { connection: 'connected' };
  primary = 'a';
  mode: 'automatic' | 'manual' = 'manual';
  /** Of the primary, as its thread says. */
  writingMs: number | undefined;
  #lastSeenMs = this.clock.monotonicMs();
  readonly #watch: PrimaryWatch;

  constructor() {
    const { clock, health, log } = this;
    const authority = { current: () => ({ primary: this.primary }) };
    const all = (): unknown => [{ record: { id: 'a' }, lastSeenMs: this.#lastSeenMs }];
    const document = (): unknown => ({ failover: { mode: this.mode } });
    const scope = {
      ...{ id: 'b', clock, health, log, authority, limits: DEFAULT_LIMITS },
      members: {
        get all() {
          return all();
        },
        writingMs: (id: string) => (id === 'a' ? this.writingMs : undefined),
      },
      get document() {
        return document();
      },
    };
    this.#watch = new PrimaryWatch(scope as unknown as ConstructorParameters<typeof PrimaryWatch>[0]);
  }

  heard(): void {
    this.#lastSeenMs = this.clock.monotonicMs();
  }

  async looks(count: number, pauseMs = BEAT_MS): Promise<void> {
    for (let n = 0; n < count; n++) {
      await this.clock.advance(pauseMs);
      this.#watch.look();
    }
  }

  get alarm(): string | undefined {
    return this.#alarm('primary');
  }

  get longWrite(): string | undefined {
    return this.#alarm('long-write');
  }

  #alarm(wanted: string): string | undefined {
    return this.health.alarms.find(({ name }) => name === wanted)?.message;
  }
}

it('says since when a primary is not heard any more, until it is heard', async () => {
  const bench = new Bench();
  await bench.looks(9);
  expect(bench.alarm, 'a restart takes some seconds').toBeUndefined();
  await bench.looks(1);
  const since = new Date(bench.clock.nowMs() - 10 * BEAT_MS).toISOString().replace(/\.\d+/, '');
  expect(bench.alarm).toMatch(`The primary a has not been heard since ${since}`);
  expect(bench.alarm).toMatch('wait where its log says that a write keeps it');
  expect(bench.alarm).toMatch('`antiphon failover ID`');
  await bench.looks(20);
  expect(bench.alarm, 'the same moment').toMatch(since);
  bench.heard();
  await bench.looks(1);
  expect(bench.alarm).toBeUndefined();
});

it('counts nothing that it did not listen to', async () => {
  const bench = new Bench();
  bench.log.connection = 'disconnected';
  await bench.looks(30);
  bench.log.connection = 'connected';
  await bench.looks(9);
  expect(bench.alarm, 'NATS was away').toBeUndefined();
  bench.heard();
  await bench.looks(1, 30 * BEAT_MS);
  await bench.looks(9);
  expect(bench.alarm, 'this process was stopped').toBeUndefined();
  await bench.looks(1);
  expect(bench.alarm).toBeDefined();
  bench.log.connection = 'disconnected';
  await bench.looks(5);
  expect(bench.alarm, 'nothing else is known').toBeDefined();
});

it('has nothing to say of itself, and where others elect', async () => {
  const own = new Bench();
  own.primary = 'b';
  await own.looks(20);
  expect(own.alarm).toBeUndefined();
  const electing = new Bench();
  electing.mode = 'automatic';
  await electing.looks(20);
  expect(electing.alarm).toBeUndefined();
  const after = new Bench();
  await after.looks(20);
  after.primary = 'b';
  await after.looks(1);
  expect(after.alarm).toBeUndefined();
});

it('says that a primary is inside of a long write, where others would elect one that has gone', async () => {
  const bench = new Bench();
  bench.mode = 'automatic';
  bench.writingMs = 9000;
  await bench.looks(1);
  expect(bench.longWrite, 'callers still wait').toBeUndefined();
  bench.writingMs = 10_000;
  await bench.looks(1);
  expect(bench.longWrite).toMatch('The primary a has been inside of one write for 10 s.');
  bench.writingMs = 23_400;
  await bench.looks(1);
  expect(bench.longWrite).toMatch('for 24 s');
  bench.primary = 'b';
  await bench.looks(1);
  expect(bench.longWrite, 'of the last primary').toBeUndefined();
  bench.primary = 'a';
  await bench.looks(1);
  expect(bench.longWrite).toBeDefined();
  bench.writingMs = undefined;
  await bench.looks(1);
  expect(bench.longWrite, 'it is over').toBeUndefined();
});
