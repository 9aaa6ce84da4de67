import { AntiphonError, type AppendRequest, type AppendResult, type Log, type Store } from '@antiphon/core';
import { memoryLog, VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import { Health } from '../state/health.js';
import { Progress } from '../state/progress.js';
import { Deadline } from '../wait/deadline.js';
import { BARRIER_ORIGIN } from '../state/barrier-entry.js';
import { ReadBarrier } from './barrier.js';

class Bench {
  readonly clock = new VirtualClock();
  readonly health = new Health(() => 'primary', this.clock, silentLogger);
  readonly positions = { applied: 0, end: 0, sawEnd: (): void => undefined };
  readonly progress = new Progress({} as Store, this.clock, 'a');
  readonly #shared = memoryLog({ clock: this.clock });
  readonly #log = this.#shared.connect();
  /** What the next append does instead. */
  onAppend: ((settled: (result: AppendResult) => void) => void) | undefined;
  readonly barrier = new ReadBarrier(
    {
      ...{ id: 'a', instance: 'x', clock: this.clock, health: this.health },
      log: { append: (request, settled) => this.#append(request, settled) } as Log,
    },
    this.positions,
    this.progress,
  );

  static async open(): Promise<Bench> {
    const bench = new Bench();
    await bench.clock.run(bench.#log.open({ create: true }));
    return bench;
  }

  #append(request: AppendRequest, settled: (result: AppendResult) => void): void {
    const instead = this.onAppend;
    this.onAppend = undefined;
    if (instead === undefined) this.#log.append(request, settled);
    else instead(settled);
  }

  get entries(): number {
    return this.#shared.entries().filter(({ origin }) => origin === BARRIER_ORIGIN).length;
  }

  apply(seq: number): void {
    this.positions.applied = seq;
    this.progress.moved();
  }

  /** `done` tells how it ended. */
  pass(timeoutMs = 10_000): { done: unknown } {
    const told: { done: unknown } = { done: 'waits' };
    this.barrier.pass(new Deadline(this.clock, timeoutMs)).then(
      () => (told.done = 'passed'),
      (error: unknown) => (told.done = error),
    );
    return told;
  }
}

describe('the barrier of a strong read', () => {
  it('I12: is passed once this database has dealt with an entry that came after the call', async () => {
    const bench = await Bench.open();
    const read = bench.pass();
    await bench.clock.advance(100);
    expect([bench.entries, read.done]).toEqual([1, 'waits']);
    bench.apply(1);
    await bench.clock.settle();
    expect(read.done).toBe('passed');
  });

  it('I12: is not the one that is under way when a read comes, and all that come meanwhile share the next', async () => {
    const bench = await Bench.open();
    let answer: (result: AppendResult) => void = () => undefined;
    bench.onAppend = (settled) => (answer = settled);
    const first = bench.pass();
    await bench.clock.settle();
    const others = [bench.pass(), bench.pass(), bench.pass()];
    await bench.clock.settle();
    bench.apply(1);
    answer({ type: 'stored', seq: 1, duplicate: false });
    await bench.clock.advance(100);
    expect(first.done).toBe('passed');
    // One entry for three reads; the first one's was not in this log.
    expect(bench.entries).toBe(1);
    expect(others.map(({ done }) => done)).toEqual(['passed', 'passed', 'passed']);
  });

  it('gives an entry without an answer up for another one', async () => {
    const bench = await Bench.open();
    const silence = new AntiphonError('LOG_UNAVAILABLE', 'no answer');
    bench.onAppend = (settled) => settled({ type: 'unknown', error: silence });
    const read = bench.pass();
    bench.apply(1);
    await bench.clock.advance(500);
    expect(read.done).toBe('passed');
  });

  it('ends at its deadline, whatever the log does', async () => {
    const bench = await Bench.open();
    bench.onAppend = () => undefined;
    const unanswered = bench.pass(300);
    await bench.clock.advance(301);
    expect(unanswered.done).toMatchObject({ code: 'TIMEOUT' });
    const other = await Bench.open();
    const unapplied = other.pass(300);
    await other.clock.advance(301);
    expect(unapplied.done).toMatchObject({ code: 'TIMEOUT' });
  });

  it('does not try again what cannot go better', async () => {
    const bench = await Bench.open();
    const replaced = new AntiphonError('LOG_REPLACED', 'it is another one');
    bench.onAppend = (settled) => settled({ type: 'refused', error: replaced });
    const read = bench.pass();
    await bench.clock.settle();
    expect(read.done).toBe(replaced);
  });

  it('says why replication has stopped, at once and while it waits', async () => {
    const bench = await Bench.open();
    bench.health.onState(() => bench.progress.moved());
    const waiting = bench.pass();
    await bench.clock.advance(10);
    bench.health.handle('agreed');
    bench.health.handle('installed');
    bench.health.stall(new AntiphonError('LOG_REPLACED', 'it is another one'));
    await bench.clock.settle();
    const stalled = {
      code: 'LOG_REPLACED',
      message: expect.stringContaining('Replication has stalled') as unknown,
    };
    expect(waiting.done).toMatchObject(stalled);
    const late = bench.pass();
    await bench.clock.settle();
    expect(late.done).toMatchObject(stalled);
  });
});
