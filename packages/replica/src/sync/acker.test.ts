import { type AckLevel, type Bus, type Log, type Registry, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import type { Committed } from '../state/write-result.js';
import { Acker, encodeAck } from './acker.js';
import { encodeInSyncRecord } from './in-sync-record.js';
import { InSyncSet } from './in-sync-set.js';
import { SyncWrite } from '../state/sync-write.js';

const clock = systemClock();
const RESULT: Omit<Committed<unknown>, 'acks' | 'degraded'> = {
  outcome: 'committed',
  position: { generation: 'g', seq: 0 },
  value: undefined,
};

/** The acker of `a`, with a set that the test's log says, and acknowledgements that the test gives. */
class Bench {
  readonly inSync = new InSyncSet({
    ...{ id: 'a', instance: 'x', clock, logger: silentLogger },
    log: {} as Log,
    registry: {} as Registry,
  });
  readonly acker: Acker;
  #hear: (request: { readonly data: Uint8Array }) => void = () => undefined;
  #seq = 0;
  seenSeq = Infinity;

  constructor(degrades = false) {
    const bus = {
      subscribe: (_: string, handler: (request: { readonly data: Uint8Array }) => void) => {
        this.#hear = handler;
        return { unsubscribe: () => undefined };
      },
    } as unknown as Bus;
    this.acker = new Acker({
      ...{ cluster: 'c', id: 'a', bus, clock, inSync: this.inSync, subject: 's', minInSync: 2, degrades },
      knowsUpTo: (seq) => this.seenSeq >= seq - 1,
    });
    this.acker.start();
  }

  record(members: readonly string[], known: readonly string[]): void {
    const data = encodeInSyncRecord({ members, known, by: 'a', why: 'a test', atMs: 0 });
    this.inSync.observe({ seq: ++this.#seq, data });
  }

  ack(id: string, seq: number): void {
    this.#hear({ data: encodeAck(id, seq) });
  }

  write(acks: AckLevel, seq: number): SyncWrite {
    const write = new SyncWrite(() => undefined, { acks, timeoutMs: 10_000 }, clock);
    this.acker.expect(write, seq, RESULT);
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

  it('says degraded, and not reached, where there is no record yet and writes do not wait', async () => {
    const bench = new Bench(true);
    const result = await bench.write('majority', 5).promise;
    expect(result).toMatchObject({ degraded: true, acks: { by: ['a'], reached: false } });
  });
});
