import type { Log, LogReader } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { sqlite } from '@antiphon/sqlite';
import { expect, it } from 'vitest';
import { ClusterFixture, count } from '../testing/cluster-fixture.js';

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

/**
 * A log that keeps the answers to appends back, and counts the entries that its durable readers
 * give.
 */
class LateAnswers {
  /** Of b. */
  read = 0;
  readOwn = 0;
  #kept: (() => void)[] | undefined;

  keep(): void {
    this.#kept = [];
  }

  get count(): number {
    return this.#kept?.length ?? 0;
  }

  give({ keepsOn = false } = {}): void {
    const kept = this.#kept;
    this.#kept = keepsOn ? [] : undefined;
    for (const answer of kept ?? []) answer();
  }

  readonly around = (log: Log): Log =>
    new Proxy(log, {
      get: (target, name) => {
        if (name === 'append')
          return (...[request, settled]: Parameters<Log['append']>) =>
            target.append(request, (result) => {
              if (this.#kept === undefined) settled(result);
              else this.#kept.push(() => settled(result));
            });
        if (name === 'read') return (options: Parameters<Log['read']>[0]) => this.#reader(target, options);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });

  async #reader(log: Log, options: Parameters<Log['read']>[0]): Promise<LogReader> {
    const reader = await log.read(options);
    if (options.durable === undefined) return reader;
    return {
      next: async (limits) => {
        const entries = await reader.next(limits);
        this.read += entries.filter(({ origin }) => origin === 'b').length;
        this.readOwn += entries.filter(({ origin }) => origin === 'a').length;
        return entries;
      },
      ack: (seq) => reader.ack(seq),
      close: () => reader.close(),
    };
  }
}

it('what others wrote while a group was on its way is committed together with it', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const update = { mode: 'sync', minInSync: 1, acks: 'local' } as const;
  const options = { topology: { mode: 'multi-primary' }, update } as const;
  const answers = new LateAnswers();
  const file = cluster.file('a');
  const store = sqlite({ file });
  const applied: number[] = [];
  const counting = new Proxy(store, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'apply') return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      return (request: Parameters<typeof store.apply>[0]) => {
        applied.push(request.steps.length);
        return target.apply(request);
      };
    },
  });
  const a = await cluster.replicaWith({ log: answers.around }, 'a', { ...options, store: counting });
  const b = await cluster.replica('b', options);
  const insert = (replica: typeof a, id: number) =>
    replica.execute([{ sql: 'INSERT INTO t VALUES (?, 0)', params: [id] }]);
  await insert(a, 1);
  await insert(b, 2);
  await a.caughtUp();
  await eventually('a has both', async () => (await count(a, 't')) === 2);
  applied.length = 0;
  answers.keep();
  const own = insert(a, 3);
  await eventually('the log has it', () => answers.count === 1);
  const readBefore = answers.read;
  for (const id of [4, 5, 6]) await insert(b, id);
  await eventually('a has read them', () => answers.read >= readBefore + 3);
  answers.give();
  await own;
  await eventually('a has everything', async () => (await count(a, 't')) === 6);
  expect(applied).toEqual([3]);
});

it('I4: certification sees own groups that were committed in place one after the other', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  const update = { mode: 'sync', minInSync: 1, acks: 'local' } as const;
  const options = { topology: { mode: 'multi-primary' }, update } as const;
  const answers = new LateAnswers();
  const a = await cluster.replicaWith({ log: answers.around }, 'a', options);
  const b = await cluster.replica('b', options);
  const insert = (id: number) => a.execute([{ sql: 'INSERT INTO t VALUES (?, 0)', params: [id] }]);
  for (let round = 0; round < 10; round++) {
    answers.keep();
    const before = answers.readOwn;
    const first = insert(2 * round);
    await eventually('the first one is read before its answer', () => answers.readOwn > before);
    const second = insert(2 * round + 1);
    answers.give({ keepsOn: true });
    await first;
    await eventually('the second one is read before its answer', () => answers.readOwn > before + 1);
    answers.give();
    await second;
  }
  await a.caughtUp();
  await b.caughtUp();
  const claims = (): unknown[] => [a, b].map((one) => one.status().sync?.certifiedClaims);
  await eventually('both know the same claims', () => new Set(claims()).size === 1, { seen: claims });
});
