import type { Log, LogIdentity } from '@antiphon/core';
import { memoryLog, VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { changed } from '../testing/changed.js';
import { VerifiedLog } from './verified-log.js';

/** A log of three entries, of which as many servers as its leader says keep a copy. */
class Bench {
  readonly log: VerifiedLog;
  /** Who leads it, and how far it goes in its eyes. */
  seen: Partial<LogIdentity> = {};

  private constructor(
    real: Log,
    readonly clock: VirtualClock,
  ) {
    const identity = async (signal?: AbortSignal): Promise<LogIdentity> => ({
      ...(await real.identity(signal)),
      ...this.seen,
    });
    this.log = new VerifiedLog(changed(real, { identity }), this.clock);
  }

  static async start(): Promise<Bench> {
    const clock = new VirtualClock();
    const real = memoryLog({ clock }).connect();
    await clock.run(real.open({ create: true }));
    for (const id of ['one', 'two', 'three'])
      await clock.run(
        new Promise((settled) => real.append({ origin: 'a', id, data: new Uint8Array(1) }, settled)),
      );
    const { storedAtMs = 0 } = (await clock.run(real.get(3))) ?? {};
    const bench = new Bench(real, clock);
    bench.log.note({ seq: 3, storedAtMs });
    return bench;
  }
}

const SHORT = { lastSeq: 2 };

describe('I14: a log that seems to have lost its end', () => {
  it('of several servers: is waited for while another one begins to lead it, and nothing is sent', async () => {
    const bench = await Bench.start();
    const { log, clock } = bench;
    bench.seen = { leader: 'n1' };
    await clock.run(log.identity());
    Object.assign(bench.seen, { leader: 'n2', ...SHORT });
    const looked = log.identity();
    await clock.advance(3000);
    expect(log.isTrusted).toBe(false);
    Object.assign(bench.seen, { lastSeq: 3 });
    expect(await clock.run(looked)).toMatchObject({ leader: 'n2', lastSeq: 3 });
    expect(log.isTrusted).toBe(true);
  });

  it('has not, where the answer is only older than what was stored meanwhile', async () => {
    const { log, clock } = await Bench.start();
    const looked = log.identity();
    log.note({ seq: 4, storedAtMs: 1 });
    expect(await clock.run(looked)).toMatchObject({ lastSeq: 3 });
    expect(log.isTrusted).toBe(true);
  });

  it('of several servers: is another one when that lasts for longer than any election', async () => {
    const bench = await Bench.start();
    const { log, clock } = bench;
    bench.seen = { leader: 'n1' };
    await clock.run(log.identity());
    Object.assign(bench.seen, SHORT);
    await expect(clock.run(log.identity())).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect(clock.monotonicMs()).toBeGreaterThan(10_000);
  });

  it('of one server: is another one after a second look', async () => {
    const bench = await Bench.start();
    const { log, clock } = bench;
    bench.seen = { ...SHORT };
    await expect(clock.run(log.identity())).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect(clock.monotonicMs()).toBeLessThan(1000);
  });
});
