import { copyFileSync, rmSync } from 'node:fs';
import { backup, DatabaseSync } from 'node:sqlite';
import {
  type AppendRequest,
  type AppendResult,
  type Log,
  summarize,
  type Topology,
  type UpdateOptions,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { CommittedChange } from '../read/changes.js';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
/** About 2 MB: eight parts. */
const BIG =
  'WITH RECURSIVE i(x) AS (SELECT 100 UNION ALL SELECT x + 1 FROM i WHERE x < 119) ' +
  'INSERT INTO t SELECT x, hex(randomblob(50000)) FROM i';
const PARTS_SENT = 3;

/** A log that appends only the first few messages; the rest waits here. */
class Gate {
  readonly held: AppendRequest[] = [];
  #left = Infinity;

  readonly around = (log: Log): Log =>
    new Proxy(log, {
      get: (target, name) => {
        if (name === 'append') return this.#append(target);
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });

  /** Of a transaction in parts, the last one has come. */
  get isAtTheEnd(): boolean {
    const data = this.held.at(-1)?.data;
    return data !== undefined && summarize(data)[0]?.last === true;
  }

  closeAfter(messages: number): void {
    this.#left = messages;
  }

  #append(log: Log): Log['append'] {
    return (request, settled) => {
      if (this.#left-- > 0) log.append(request, settled);
      else this.held.push(request);
    };
  }
}

async function copied(from: string, to: string): Promise<void> {
  const source = new DatabaseSync(fixture.file(from));
  try {
    await backup(source, fixture.file(to));
  } finally {
    source.close();
  }
}

function replaceBy(copy: string | undefined): void {
  for (const end of ['', '-wal', '-shm']) rmSync(fixture.file('a') + end, { force: true });
  if (copy !== undefined) copyFileSync(fixture.file(copy), fixture.file('a'));
}

async function published(replica: SqliteReplica): Promise<void> {
  await eventually('everything is published', () => {
    const { unpublished, unsealed } = replica.status().outbox;
    return unpublished + unsealed === 0;
  });
}

interface Setting {
  readonly topology: Topology;
  readonly update?: UpdateOptions;
}

const PRIMARY: Topology = { mode: 'primary-replica', primary: 'a' };
const SETTINGS: readonly Setting[] = [
  { topology: PRIMARY },
  { topology: { mode: 'multi-primary' } },
  { topology: PRIMARY, update: { mode: 'sync', foreignWrites: 'async' } },
  { topology: { mode: 'multi-primary' }, update: { mode: 'sync', foreignWrites: 'async' } },
];

interface Died {
  readonly b: SqliteReplica;
  /** What was on its way, in order. */
  readonly late: readonly AppendRequest[];
}

/**
 * `a` has died while a big transaction was going out. `copy` is its file as it was before that one.
 */
async function died(setting: Setting): Promise<Died> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', SCHEMA);
  const gate = new Gate();
  const a = await fixture.replicaWith({ log: gate.around }, 'a', {
    ...setting,
    limits: { closeTimeoutMs: 500 },
  });
  const b = await fixture.replica('b', setting);
  await a.execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }]);
  await published(a);
  await b.caughtUp();
  await eventually('b has the first row', async () => (await count(b, 't')) === 1);
  await copied('a', 'copy');
  gate.closeAfter(PARTS_SENT);
  await fixture.sqlWhenFree('a', BIG);
  await eventually('some parts are in the log, and the others on their way', () => gate.isAtTheEnd, {
    seen: () => gate.held.length,
  });
  await a.close();
  return { b, late: [...gate.held] };
}

async function sent(log: Log, { origin, id, data }: AppendRequest): Promise<AppendResult> {
  return await new Promise((settled) => log.append({ origin, id, data }, settled));
}

function idsOf(changes: AsyncIterable<CommittedChange>): readonly number[] {
  const ids: number[] = [];
  void (async () => {
    for await (const { key } of changes) ids.push(Number(key['id']));
  })();
  return ids;
}

/** Both have these rows, and go on. */
async function goesOn(a: SqliteReplica, b: SqliteReplica, rows: number): Promise<void> {
  await a.execute([{ sql: "INSERT INTO t VALUES (50, 'later')" }]);
  await eventually('b has what was written afterwards', async () => (await count(b, 't')) === rows + 1, {
    seen: () => ({ a: a.status(), b: b.status() }),
  });
  expect(await rowsOf(b, 't')).toBe(await rowsOf(a, 't'));
  await published(a);
  await b.caughtUp();
  await a.caughtUp();
  expect(a.status().vector).toEqual(b.status().vector);
  for (const replica of [a, b]) expect(replica.status()).toMatchObject({ alarms: [], waitingFor: [] });
}

describe.each(SETTINGS)('a big transaction that only began to be published, and was lost: %j', (setting) => {
  it.each([
    ['an older copy', 'copy'],
    ['an empty file', undefined],
  ])('I2: %s starts, goes on, and starts again', async (_what, copy) => {
    const { b } = await died(setting);
    const seen = idsOf(b.changes({ from: 'beginning' }));
    replaceBy(copy);
    const a = await fixture.replica('a', setting);
    await goesOn(a, b, 1);
    await eventually('a stream of changes goes on', () => seen.length === 2);
    expect(seen).toEqual([1, 50]);
    await a.close();
    const again = await fixture.replica('a', setting);
    await again.execute([{ sql: "INSERT INTO t VALUES (51, 'later')" }]);
    await eventually('b has that, too', async () => (await count(b, 't')) === 3);
    const c = await fixture.replica('c', setting);
    await eventually('so has who reads everything', async () => (await count(c, 't')) === 3);
  });

  it('I2: the rest of it comes late, and changes nothing', async () => {
    const { b, late } = await died(setting);
    replaceBy('copy');
    const a = await fixture.replica('a', setting);
    const log = (await fixture.nats()).log('shop');
    await log.open({ create: false });
    for (const request of late) expect(await sent(log, request)).toMatchObject({ type: 'stored' });
    await goesOn(a, b, 1);
    await a.close();
    const again = await fixture.replica('a', setting);
    await again.execute([{ sql: "INSERT INTO t VALUES (52, 'later')" }]);
    await eventually('b has that, too', async () => (await rowsOf(b, 't')) === (await rowsOf(again, 't')));
  });

  it('I2: what is still coming in is waited for, and taken in whole', async () => {
    const { b, late } = await died(setting);
    replaceBy('copy');
    const log = (await fixture.nats()).log('shop');
    await log.open({ create: false });
    const starting = fixture.replica('a', setting);
    for (const request of late) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await sent(log, request);
    }
    await goesOn(await starting, b, 21);
  });
});
