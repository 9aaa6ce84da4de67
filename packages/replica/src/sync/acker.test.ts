import {
  AntiphonError,
  encodeControl,
  type AckLevel,
  type Bus,
  type Log,
  type Registry,
} from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import type { WriteResult } from '../state/write-result.js';
import { Acker, type Durable, encodeAck } from './acker.js';
import { encodeInSyncRecord } from './in-sync-record.js';
import { InSyncSet } from './in-sync-set.js';
import { SyncWrite } from '../state/sync-write.js';

const RESULT: Omit<WriteResult<unknown>, 'acks' | 'degraded'> = {
  outcome: 'committed',
  position: { generation: 'g', seq: 0 },
  value: undefined,
};

/**
 * The acker of `a`, with a set that the test's log says, and acknowledgements that the test gives.
 */
type AckOf = Partial<Pick<Durable, 'epochSeq' | 'counter' | 'instance'>>;

class Bench {
  readonly clock = new VirtualClock();
  /** Members that were asked directly, and what they answer. */
  readonly asked: string[] = [];
  answer: (member: string) => Promise<Uint8Array> = () =>
    Promise.reject(new AntiphonError('TIMEOUT', 'no answer'));
  readonly inSync = new InSyncSet({
    ...{ id: 'a', instance: 'x', clock: this.clock, logger: silentLogger },
    log: {} as Log,
    registry: {} as Registry,
  });
  readonly acker: Acker;
  #hear: (request: { readonly data: Uint8Array }) => void = () => undefined;
  #seq = 0;
  seenSeq = Infinity;
  epochSeq = 0;

  constructor(degrades = false) {
    const bus = {
      subscribe: (_: string, handler: (request: { readonly data: Uint8Array }) => void) => {
        this.#hear = handler;
        return { unsubscribe: () => undefined };
      },
      request: (subject: string) => {
        const member = subject.split('.').at(-2) ?? '';
        this.asked.push(member);
        return this.answer(member);
      },
    } as unknown as Bus;
    this.acker = new Acker({
      ...{ cluster: 'c', id: 'a', bus, clock: this.clock, inSync: this.inSync, subject: 's' },
      ...{ minInSync: 2, degrades },
      knowsUpTo: (seq) => this.seenSeq >= seq - 1,
      epochSeq: () => this.epochSeq,
    });
    this.acker.start();
  }

  record(members: readonly string[], known: readonly string[]): void {
    const data = encodeInSyncRecord({ members, known, by: 'a', why: 'a test', atMs: 0 });
    this.inSync.observe({ seq: ++this.#seq, data });
  }

  ack(id: string, seq: number, { epochSeq = 0, counter = 99, ...by }: AckOf = {}): void {
    this.hears(encodeAck(id, { seq, counter, epochSeq, ...by }));
  }

  hears(data: Uint8Array): void {
    this.#hear({ data });
  }

  write(acks: AckLevel, seq: number, counter = 1): SyncWrite {
    const write = new SyncWrite(() => undefined, { acks, timeoutMs: 10_000 }, this.clock);
    this.acker.expect(write, seq, { ...RESULT, id: { origin: 'a', counter } });
    return write;
  }
}

describe('acknowledgements', () => {
  it('I6: a majority is one of the members that the log knows; of none, nobody is', async () => {
    const bench = new Bench();
    const write = bench.write('majority', 5);
    expect(write.settled).toBe(false);
    bench.record(['b'], ['b', 'c', 'd']);
    // The writer itself is no member yet.
    bench.ack('b', 5);
    expect(write.settled).toBe(false);
    bench.ack('c', 5);
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], reached: true });
  });

  it('I6: those of a removed member count no more, nor do its old ones when it comes back', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e']);
    bench.ack('c', 9);
    bench.record(['a', 'b'], ['a', 'b', 'd', 'e']);
    const write = bench.write('majority', 5);
    bench.ack('c', 10);
    bench.ack('b', 5);
    expect(write.settled).toBe(false);
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e']);
    expect(write.settled).toBe(false);
    bench.ack('c', 11);
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], missing: ['d', 'e'] });
  });

  it('I6: a position is none without the transaction: the log that was read there may be another one', async () => {
    const bench = new Bench();
    bench.record(['a', 'b'], ['a', 'b']);
    const write = bench.write('majority', 5, 7);
    bench.ack('b', 5, { counter: 6 });
    bench.hears(encodeControl({ id: 'b', seq: 5, epochSeq: 0 }));
    expect(write.settled).toBe(false);
    bench.ack('b', 5, { counter: 7 });
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b'], reached: true });
  });

  it('I6: those of another epoch do not count: there the group was passed, and not applied', async () => {
    const bench = new Bench();
    bench.epochSeq = 4;
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    const write = bench.write('majority', 5);
    bench.ack('b', 9, { epochSeq: 3 });
    bench.ack('c', 9);
    bench.hears(encodeControl({ id: 'c', seq: 9 }));
    expect(write.settled).toBe(false);
    bench.ack('b', 5, { epochSeq: 4 });
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b'], reached: true });
  });

  it('I6: a smaller majority counts from its record on, also for a write that waits', async () => {
    const bench = new Bench();
    bench.record(['a', 'b'], ['a', 'b', 'c', 'd']);
    bench.seenSeq = 3;
    const write = bench.write('majority', 5);
    bench.ack('b', 5);
    bench.record(['a', 'b'], ['a', 'b', 'c']);
    // What the log says between is not known yet.
    expect(write.settled).toBe(false);
    bench.seenSeq = 4;
    bench.acker.check();
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b'], missing: ['c'], reached: true });
  });

  it('I6: `all` are those in the set as it was when the entry was written, without the writer', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c', 'd']);
    bench.seenSeq = 3;
    const write = bench.write('all', 5);
    bench.ack('b', 5);
    bench.ack('c', 7);
    // The set may have changed before the entry.
    expect(write.settled).toBe(false);
    bench.seenSeq = 4;
    bench.acker.check();
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], missing: [], reached: true });
  });

  it('I6: who leaves the set is not waited for any more', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    const write = bench.write('all', 5);
    bench.ack('b', 5);
    expect(write.settled).toBe(false);
    bench.record(['a', 'b'], ['a', 'b', 'c']);
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b'], missing: [], reached: true });
  });

  it('waits for nobody at `logged` and `local`, and for so many databases at a number', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    expect((await bench.write('logged', 5).promise).acks).toMatchObject({
      by: ['a'],
      missing: [],
      reached: true,
    });
    expect((await bench.write('local', 5).promise).acks).toMatchObject({ reached: true });
    const write = bench.write(2, 5);
    bench.ack('b', 4);
    expect([write.settled, bench.acker.waiting]).toEqual([false, 1]);
    bench.ack('b', 5);
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b'], missing: ['c'], reached: true });
    expect(bench.acker.waiting).toBe(0);
  });

  it('I8: says at the deadline what was reached until then', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    const write = bench.write('all', 5);
    bench.ack('c', 5);
    await bench.clock.advance(10_000);
    expect(await write.promise).toMatchObject({
      outcome: 'committed',
      acks: { by: ['a', 'c'], missing: ['b'], reached: false },
    });
    bench.acker.check();
    expect(bench.acker.waiting).toBe(0);
  });

  it('I6: what the process before acknowledged counts no more: its file may have been put back', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    for (const member of ['b', 'c']) bench.acker.runs(member, 'first');
    const [all, majority] = [bench.write('all', 5), bench.write(3, 5)];
    bench.ack('b', 5);
    bench.acker.runs('b', 'first');
    await bench.clock.run(new Promise<void>((passed) => bench.clock.setTimer(900, passed)));
    bench.acker.runs('b', 'second');
    bench.ack('c', 5);
    expect([all.settled, majority.settled]).toEqual([false, false]);
    // It has just come, and is not late yet.
    expect(bench.acker.late(500)).toEqual([]);
    bench.answer = () => Promise.resolve(encodeControl({ ok: { seq: 3, counter: 9, epochSeq: 0 } }));
    bench.acker.askSilent();
    await bench.clock.run(new Promise<void>((passed) => bench.clock.setTimer(500, passed)));
    expect(bench.asked).toEqual(['b']);
    expect([all.settled, majority.settled]).toEqual([false, false]);
    expect(bench.acker.late(500)).toEqual(['b']);
    bench.ack('b', 5);
    for (const { promise } of [all, majority])
      expect((await promise).acks).toMatchObject({ by: ['a', 'b', 'c'], reached: true });
  });

  it('I6: the first heartbeat of a process takes nothing back of what the same one acknowledged', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    const write = bench.write('all', 5);
    bench.ack('b', 5, { instance: 'first' });
    bench.acker.runs('b', 'first');
    bench.ack('c', 5, { instance: 'first' });
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], reached: true });
    const next = bench.write('all', 6);
    bench.ack('b', 6, { instance: 'first' });
    // Put back, and started again: the next one says so with its first acknowledgement.
    bench.ack('b', 3, { instance: 'second' });
    bench.ack('c', 6, { instance: 'first' });
    expect(next.settled).toBe(false);
    bench.acker.runs('b', 'second');
    bench.ack('b', 6, { instance: 'second' });
    expect((await next.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], reached: true });
  });

  it('I6: the process that runs counts, also after the one that it replaced was heard once more', () => {
    const bench = new Bench();
    bench.record(['a', 'b'], ['a', 'b']);
    for (const instance of ['first', 'second', 'first', 'second']) bench.acker.runs('b', instance);
    bench.ack('b', 5, { instance: 'first' });
    expect(bench.write('all', 5).settled, 'of the one before').toBe(false);
    bench.ack('b', 5, { instance: 'second' });
    expect(bench.write('all', 5).settled).toBe(true);
  });

  it('I6: an older acknowledgement takes nothing back, and a stranger has none', () => {
    const bench = new Bench();
    bench.record(['a', 'b'], ['a', 'b']);
    bench.ack('b', 9);
    bench.ack('b', 3);
    bench.ack('stranger', 9);
    expect(bench.write(2, 9).settled).toBe(true);
    expect(bench.write(3, 9).settled).toBe(false);
  });

  it('refuses what is no acknowledgement', () => {
    const bench = new Bench();
    expect(() => bench.hears(encodeControl({ seq: 1 }))).toThrow(/acknowledgement/);
    expect(() => bench.hears(encodeControl(null))).toThrow(/acknowledgement/);
    bench.record(['a', 'b'], ['a', 'b']);
    bench.ack('b', Number.NaN);
    bench.ack('b', -1);
    expect(bench.write(2, 1).settled).toBe(false);
  });

  it('names who holds up a write for too long', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    bench.write('all', 5);
    bench.ack('b', 5);
    expect(bench.acker.late(3000)).toEqual([]);
    await bench.clock.advance(3000);
    expect(bench.acker.late(3000)).toEqual(['c']);
    bench.ack('c', 5);
    expect(bench.acker.late(3000)).toEqual([]);
  });

  it('I6: asks a silent member directly, one question at a time', async () => {
    const bench = new Bench();
    bench.record(['a', 'b', 'c'], ['a', 'b', 'c']);
    const write = bench.write('all', 5);
    bench.ack('b', 5);
    bench.acker.askSilent();
    expect(bench.asked).toEqual([]);
    await bench.clock.advance(200);
    let reply: (data: Uint8Array) => void = () => undefined;
    bench.answer = () => new Promise((resolve) => (reply = resolve));
    bench.acker.askSilent();
    bench.acker.askSilent();
    expect(bench.asked).toEqual(['c']);
    reply(encodeControl({ error: { code: 'CLOSED' } }));
    await bench.clock.settle();
    bench.acker.askSilent();
    reply(encodeControl({ ok: { seq: 5, counter: 9, epochSeq: 0 } }));
    await bench.clock.settle();
    expect(bench.asked).toEqual(['c', 'c']);
    expect((await write.promise).acks).toMatchObject({ by: ['a', 'b', 'c'], reached: true });
  });

  it('I6: asks again after a question without an answer', async () => {
    const bench = new Bench();
    bench.record(['a', 'b'], ['a', 'b']);
    bench.write('all', 5);
    await bench.clock.advance(200);
    for (let n = 0; n < 2; n++) {
      bench.acker.askSilent();
      await bench.clock.settle();
    }
    expect(bench.asked).toEqual(['b', 'b']);
  });

  it('says degraded, and not reached, where there is no record yet and writes do not wait', async () => {
    const bench = new Bench(true);
    const result = await bench.write('majority', 5).promise;
    expect(result).toMatchObject({ degraded: true, acks: { by: ['a'], reached: false } });
  });
});
