import { AntiphonError, type Log, type Registry, type AckLevel } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import type { Scope } from '../state/scope.js';
import { SyncWrite } from '../state/sync-write.js';
import { encodeInSyncRecord } from './in-sync-record.js';
import { InSyncSet } from './in-sync-set.js';
import type { Sync } from './sync.js';
import { WriteQueue } from './write-queue.js';

const PLENTY = 1_000_000;

class Bench {
  readonly clock = new VirtualClock();
  readonly inSync = new InSyncSet({
    ...{ id: 'a', instance: 'x', clock: this.clock, logger: silentLogger },
    log: {} as Log,
    registry: {} as Registry,
  });
  readonly queue: WriteQueue;
  readonly names = new Map<SyncWrite, string>();
  readonly ended = new Map<string, unknown>();

  constructor(onShortfall: 'reject' | 'degrade' = 'reject', waitingWrites = 10) {
    const scope = { clock: this.clock, limits: { waitingWrites } } as unknown as Scope;
    const sync = { settings: { onShortfall, minInSync: 2 }, inSync: this.inSync } as unknown as Sync;
    this.queue = new WriteQueue(scope, sync);
  }

  write(
    name: string,
    acks: AckLevel = 'logged',
    changes: Partial<SyncWrite> = {},
    timeoutMs = 60_000,
  ): SyncWrite {
    const write = new SyncWrite(() => undefined, { acks, timeoutMs }, this.clock);
    this.names.set(write, name);
    write.promise.catch((error: unknown) => this.ended.set(name, error));
    return Object.assign(write, changes);
  }

  inSyncAre(...members: readonly string[]): void {
    const data = encodeInSyncRecord({ members, known: ['a', 'b', 'c'], by: 'a', why: 'a test', atMs: 0 });
    this.inSync.observe({ seq: this.inSync.seq + 1, data });
  }

  chosen(limit = 10, maxBytes = PLENTY): readonly (string | undefined)[] {
    return this.queue.choose(limit, maxBytes).map((write) => this.names.get(write));
  }
}

describe('the queue of synchronous writes', () => {
  it('gives them in order, as many as a group takes, and what is put back first', () => {
    const bench = new Bench();
    const writes = ['1', '2', '3'].map((name) => bench.write(name));
    bench.queue.take(writes);
    expect(bench.chosen(2)).toEqual(['1', '2']);
    bench.queue.putBack(writes.slice(0, 2));
    bench.queue.putLast(bench.write('4'));
    expect(bench.chosen()).toEqual(['1', '2', '3', '4']);
    expect(bench.queue.length).toBe(0);
  });

  it('rejects what there is no room for', async () => {
    const bench = new Bench('reject', 2);
    bench.queue.take(['1', '2', '3'].map((name) => bench.write(name)));
    await bench.clock.settle();
    expect(bench.queue.length).toBe(2);
    expect(bench.ended.get('3')).toMatchObject({ code: 'OVERLOADED' });
  });

  it('takes those with conflicts last, since what comes after a rejected one is rejected with it', () => {
    const bench = new Bench();
    bench.queue.take([
      bench.write('twice', 'logged', { conflicts: 2 }),
      bench.write('once', 'logged', { conflicts: 1 }),
      bench.write('never'),
    ]);
    expect(bench.chosen()).toEqual(['never', 'once', 'twice']);
  });

  it('takes those first that the last group left out, also with conflicts', () => {
    const bench = new Bench();
    bench.queue.take([
      bench.write('new'),
      bench.write('left', 'logged', { leftOut: true }),
      bench.write('left with conflicts', 'logged', { leftOut: true, conflicts: 2 }),
      bench.write('once', 'logged', { conflicts: 1 }),
      bench.write('newer'),
    ]);
    expect(bench.chosen()).toEqual(['left', 'left with conflicts', 'new', 'newer', 'once']);
  });

  it('leaves one out until its time has come', async () => {
    const bench = new Bench();
    bench.queue.take([bench.write('later', 'logged', { notBeforeMs: 50 }), bench.write('now')]);
    expect(bench.chosen()).toEqual(['now']);
    await bench.clock.advance(50);
    expect(bench.chosen()).toEqual(['later']);
  });

  it('gives what writes only to local tables a group of its own', () => {
    const bench = new Bench();
    bench.queue.take([bench.write('1'), bench.write('local', 'logged', { alone: true }), bench.write('2')]);
    expect(bench.chosen()).toEqual(['1', '2']);
    bench.queue.putLast(bench.write('3'));
    expect(bench.chosen()).toEqual(['local']);
    expect(bench.chosen()).toEqual(['3']);
  });

  it('makes no group larger than a message, and lets nothing go ahead of what does not fit', () => {
    const bench = new Bench();
    const sized = (name: string, knownBytes: number): SyncWrite =>
      bench.write(name, 'logged', { knownBytes });
    bench.queue.take([sized('60', 60), sized('50', 50), sized('10', 10)]);
    expect(bench.chosen(10, 100)).toEqual(['60']);
    expect(bench.chosen(10, 100)).toEqual(['50', '10']);
    // One that never fits alone is tried: the store says so, and rejects it.
    bench.queue.take([sized('200', 200)]);
    expect(bench.chosen(10, 100)).toEqual(['200']);
  });

  it('I8: never gives one whose caller was told how it ended', async () => {
    const bench = new Bench();
    bench.queue.take([bench.write('short', 'logged', {}, 10), bench.write('long')]);
    await bench.clock.advance(10);
    expect(bench.queue.length).toBe(2);
    bench.queue.forgetSettled();
    expect(bench.queue.length).toBe(1);
    bench.queue.take([bench.write('short too', 'logged', {}, 10)]);
    await bench.clock.advance(10);
    expect(bench.chosen()).toEqual(['long']);
    expect(bench.queue.length).toBe(0);
  });

  it('I6: holds those back that need more members in sync, and rejects them after a while', async () => {
    const bench = new Bench();
    bench.inSyncAre('a', 'b');
    bench.queue.take([bench.write('all', 'all'), bench.write('three', 3), bench.write('local', 'local')]);
    // `all` are those in sync, of which two are enough.
    expect(bench.chosen()).toEqual(['all', 'local']);
    await bench.clock.advance(1999);
    expect(bench.chosen()).toEqual([]);
    expect(bench.queue.length).toBe(1);
    await bench.clock.advance(1);
    expect(bench.chosen()).toEqual([]);
    await bench.clock.settle();
    expect(bench.ended.get('three')).toMatchObject({
      code: 'NOT_IN_SYNC',
      message: expect.stringContaining('Start c') as unknown,
      context: { inSync: ['a', 'b'], needed: 3 },
    });
    bench.inSyncAre('a', 'b', 'c');
    bench.queue.take([bench.write('again', 3)]);
    expect(bench.chosen()).toEqual(['again']);
  });

  it('I6: holds nothing back where the cluster degrades', () => {
    const bench = new Bench('degrade');
    bench.inSyncAre('a');
    bench.queue.take([bench.write('all', 'all'), bench.write('majority', 'majority')]);
    expect(bench.chosen()).toEqual(['all', 'majority']);
  });

  it('tells what they wait for at their deadline, and gives all up at once', async () => {
    const bench = new Bench();
    bench.queue.take([bench.write('short', 'logged', {}, 10), bench.write('long')]);
    bench.queue.waitFor(new AntiphonError('LOG_UNAVAILABLE', 'NATS does not answer'));
    await bench.clock.advance(10);
    expect(bench.ended.get('short')).toMatchObject({ code: 'LOG_UNAVAILABLE' });
    const closing = new AntiphonError('CLOSED', 'closing');
    bench.queue.giveUp(closing);
    await bench.clock.settle();
    expect(bench.ended.get('long')).toBe(closing);
    expect(bench.queue.length).toBe(0);
  });
});
