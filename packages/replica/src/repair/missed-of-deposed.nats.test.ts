import type { Log, LogEntry, LogReader } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import type { Statement } from '../write/statement.js';
import { afterEach, expect, it } from 'vitest';
import { changed } from '../testing/changed.js';
import { ClusterFixture, type SqliteReplica, type StartOptions } from '../testing/cluster-fixture.js';

const topology = { mode: 'primary-replica', primary: 'a' } as const;
const limits = { beatMs: 50 };

let fixture: ClusterFixture | undefined;
afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
});

/** A server whose copy of the log has something else in place of some entries, for as long. */
class WrongCopy {
  differs: (entry: LogEntry) => boolean = () => false;

  readonly log = (real: Log): Log =>
    changed(real, {
      read: async (from) => {
        const reader = await real.read(from);
        const next: LogReader['next'] = async (limits) => (await reader.next(limits)).map(this.#shown);
        return changed(reader, { next });
      },
    });

  readonly #shown = (entry: LogEntry): LogEntry =>
    this.differs(entry) ? { ...entry, origin: '_barrier', data: new Uint8Array(0) } : entry;
}

async function textsOf(replica: SqliteReplica): Promise<readonly unknown[]> {
  return (await replica.query('SELECT v FROM t ORDER BY id')).map(({ v }) => v);
}

const MODES = ['async', 'sync'] as const;

interface World {
  readonly a: SqliteReplica;
  readonly b: SqliteReplica;
  readonly c: SqliteReplica;
  readonly copy: WrongCopy;
  readonly options: StartOptions;
}

/** `c` lacks what `a` writes last, which sets the text of row 1 to `missed`. */
async function missing(mode: (typeof MODES)[number]): Promise<World> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const options = { topology, limits, update: { mode }, failover: { mode: 'manual' } } as const;
  const a = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  const copy = new WrongCopy();
  const c = await fixture.replicaWith({ log: copy.log }, 'c', options);
  await a.execute([{ sql: "INSERT INTO t VALUES (1, 'first')" }]);
  for (const one of [b, c]) await eventually('it has it', async () => (await textsOf(one)).length === 1);
  copy.differs = ({ origin }) => origin === 'a';
  await a.execute([set('missed')], mode === 'sync' ? { acks: 2 } : {});
  await eventually('b has it', async () => (await textsOf(b))[0] === 'missed');
  return { a, b, c, copy, options };
}

const set = (v: string): Statement => ({ sql: 'UPDATE t SET v = ? WHERE id = 1', params: [v] });

it.each(MODES)(
  'I3, I5: what a deposed primary wrote and a replica missed comes before what builds on it, %s',
  async (mode) => {
    const { a, b, c, copy } = await missing(mode);
    await b.takeOver();
    await eventually('a follows', () => a.status().lifecycle === 'following');
    await b.execute([set('of b')], mode === 'sync' ? { acks: 2 } : {});
    await eventually('c misses it', () => c.status().waitingFor.length > 0);
    await eventually('its origin has said why', () =>
      c.status().waitingFor.some(({ answer = '' }) => answer.startsWith('a follows b, the primary')),
    );
    expect(await textsOf(c), 'nothing that builds on it').toEqual(['first']);
    copy.differs = () => false;
    await eventually('c is whole', async () => (await textsOf(c))[0] === 'of b', 20_000);
    await eventually('nothing is missed', () => c.status().waitingFor.length === 0);
    await b.execute([set('after')]);
    await eventually('and goes on', async () => (await textsOf(c))[0] === 'after');
  },
);

it.each(MODES)(
  'I3, I5: what a replica missed stays missing when its origin starts again, %s',
  async (mode) => {
    const { b, c, copy, options } = await missing(mode);
    await fixture?.closeReplica('a');
    const a = await fixture!.replica('a', options);
    await a.execute([{ sql: "INSERT INTO t VALUES (2, 'again')" }], mode === 'sync' ? { acks: 2 } : {});
    await eventually('b has it', async () => (await textsOf(b)).length === 2);
    await eventually('c misses it', () => c.status().waitingFor.length > 0);
    expect(await textsOf(c), 'nothing that builds on it').toEqual(['first']);
    copy.differs = () => false;
    await eventually('c is whole', async () => (await textsOf(c)).join() === 'missed,again', 20_000);
    await eventually('nothing is missed', () => c.status().waitingFor.length === 0);
  },
);

it('I7, I14: a replica that was shown something else in place of a record of an epoch says so, and stops', async () => {
  const { b, c, copy } = await missing('async');
  copy.differs = ({ origin }) => origin === '_epoch';
  await b.takeOver();
  await b.execute([set('of b')]);
  await eventually('c has stopped', () => c.status().stalled !== undefined);
  expect(c.status().stalled).toMatchObject({
    code: 'LOG_REPLACED',
    message: expect.stringContaining('is of epoch 2') as string,
  });
  await expect(c.takeOver({ timeoutMs: 1000 })).rejects.toMatchObject({ code: 'LOG_REPLACED' });
});

it('I3: what the primary lacks and others have is an alarm, until a primary has it', async () => {
  const { a, b, c, copy } = await missing('async');
  const isDoubted = (replica: SqliteReplica): boolean =>
    replica.status().alarms.some(({ name }) => name === 'history');
  await c.takeOver();
  await c.execute([{ sql: "INSERT INTO t VALUES (2, 'of c')" }]);
  await eventually('b says so', () => isDoubted(b));
  expect(b.status().alarms).toContainEqual(
    expect.objectContaining({
      message: expect.stringMatching(/^This database has a:\d+, and c, the primary, has not/) as string,
    }),
  );
  copy.differs = () => false;
  await b.takeOver();
  await eventually('b is the primary, and has it', () => b.status().lifecycle === 'primary');
  await b.execute([set('of b')]);
  for (const one of [a, c])
    await eventually('it follows', async () => (await textsOf(one))[0] === 'of b', 20_000);
  for (const one of [a, b, c]) await eventually('nobody doubts', () => !isDoubted(one));
});
