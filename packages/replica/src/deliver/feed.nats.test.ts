import type { Log, LogReader } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)';
const REBUILD = `CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO u SELECT * FROM t; DROP TABLE t;
  ALTER TABLE u RENAME TO t;`;

/** A log whose durable readers can be made to read nothing more, until the next one is opened. */
class SlowReading {
  readonly begun: number[] = [];
  #isHeld = false;

  hold(): void {
    this.#isHeld = true;
  }

  readonly around = (log: Log): Log =>
    new Proxy(log, {
      get: (target, name) => {
        if (name === 'read') return (options: Parameters<Log['read']>[0]) => this.#read(target, options);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });

  async #read(log: Log, options: Parameters<Log['read']>[0]): Promise<LogReader> {
    const reader = await log.read(options);
    if (options.durable === undefined) return reader;
    this.begun.push(options.fromSeq);
    this.#isHeld = false;
    let closed: (error: Error) => void = () => undefined;
    const closing = new Promise<never>((_, reject) => (closed = reject));
    closing.catch(() => undefined);
    return {
      next: async (limits) => {
        const entries = await Promise.race([closing, reader.next(limits)]);
        return this.#isHeld ? closing : entries;
      },
      ack: (seq) => reader.ack(seq),
      close: async () => {
        closed(new Error('the reader was closed'));
        await reader.close();
      },
    };
  }
}

it('I4: after a stall, certification gets what was committed in place and never read', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const reading = new SlowReading();
  const update = { mode: 'sync', minInSync: 1, acks: 'local' } as const;
  const options = { topology: { mode: 'multi-primary' }, update } as const;
  const a = await cluster.replicaWith({ log: reading.around }, 'a', options);
  const insert = (id: number) => a.execute([{ sql: 'INSERT INTO t VALUES (?, 0)', params: [id] }]);
  await insert(1);
  await a.caughtUp();
  reading.hold();
  const { position } = await insert(2);
  await insert(3);
  cluster.sql('a', REBUILD);
  await eventually('a stalls', () => a.status().lifecycle === 'stalled');
  const begunBefore = reading.begun.length;
  await a.recapture('t');
  await eventually('a reads again', () => reading.begun.length > begunBefore);
  expect(reading.begun.at(-1)).toBeLessThanOrEqual(position.seq);
  await insert(4);
  // Its own claims: 1 to 4.
  expect(a.status().sync?.certifiedClaims).toBeGreaterThanOrEqual(4);
});
