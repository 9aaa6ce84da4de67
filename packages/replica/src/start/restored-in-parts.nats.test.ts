import { backup, DatabaseSync } from 'node:sqlite';
import type { AppendRequest, AppendResult, Log, LogReader, Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
const TOPOLOGIES: readonly Topology[] = [
  { mode: 'primary-replica', primary: 'a' },
  { mode: 'multi-primary' },
];

function inserted(replica: SqliteReplica, ids: readonly number[], bytes = 1): Promise<unknown> {
  const statements = ids.map((id) => ({
    sql: 'INSERT INTO t VALUES (?, hex(randomblob(?)))',
    params: [id, bytes],
  }));
  return replica.execute(statements);
}

function instead(log: Log, members: Partial<Log>): Log {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in members ? members : target, name);
      return typeof value === 'function' && !(name in members) ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A log that appends only the first few messages, until it is opened. */
class Gate {
  #left = Infinity;
  readonly #waiting: (() => void)[] = [];

  readonly around = (log: Log): Log => {
    const append = (request: AppendRequest, settled: (result: AppendResult) => void): void => {
      const send = (): void => log.append(request, settled);
      if (this.#left-- > 0) send();
      else this.#waiting.push(send);
    };
    return instead(log, { append });
  };

  closeAfter(messages: number): void {
    this.#left = messages;
  }

  get isHolding(): boolean {
    return this.#waiting.length > 0;
  }

  open(): void {
    this.#left = Infinity;
    for (const send of this.#waiting.splice(0)) send();
  }
}

/** A log whose feed reads four entries at a time, and no more than so many. */
function readingOnly(entries: number): (log: Log) => Log {
  let left = entries;
  const limited = (reader: LogReader): LogReader => ({
    next: async (limits) => {
      if (left <= 0) return new Promise(() => undefined);
      const read = await reader.next({ ...limits, maxEntries: Math.min(4, left) });
      left -= read.length;
      return read;
    },
    ack: (seq) => reader.ack(seq),
    close: () => reader.close(),
  });
  return (log) =>
    instead(log, {
      read: async (options) => {
        const reader = await log.read(options);
        return options.durable === undefined ? reader : limited(reader);
      },
    });
}

async function copied(from: string, to: string): Promise<void> {
  const source = new DatabaseSync(from);
  try {
    await backup(source, to);
  } finally {
    source.close();
  }
}

function stateOf(id: string): {
  readonly position: number;
  readonly published: number;
  readonly own: number;
} {
  const file = new DatabaseSync(fixture.file(id), { readOnly: true });
  try {
    const sql =
      'SELECT position_seq AS position, published_counter AS published, own_counter AS own FROM _antiphon_state';
    return file.prepare(sql).get() as ReturnType<typeof stateOf>;
  } finally {
    file.close();
  }
}

async function published(replica: SqliteReplica): Promise<void> {
  await eventually('everything is published', () => replica.status().outbox.unpublished === 0);
}

/** As the log says, and it gives new numbers to what is written now. */
async function goesOn(a: SqliteReplica, b: SqliteReplica, rows: number): Promise<void> {
  expect(await count(a, 't')).toBe(rows);
  await inserted(a, [50]);
  await eventually('b has what was written afterwards', async () => (await count(b, 't')) === rows + 1);
  expect(await rowsOf(b, 't')).toBe(await rowsOf(a, 't'));
  expect(a.status().vector).toEqual(b.status().vector);
  expect(a.status().alarms).toEqual([]);
  expect(b.status().waitingFor).toEqual([]);
}

describe.each(TOPOLOGIES)(
  'a copy whose position lies within a big transaction of its own, $mode',
  (topology) => {
    const options = { topology, limits: { connectTimeoutMs: 20_000 } };

    it.each([
      ['in parts', {}, { rows: 40, bytes: 50_000, sent: 4, again: false }],
      // Alone, a primary stores no position for what it has nothing to apply of.
      ...(topology.mode === 'multi-primary'
        ? [
            [
              'in parts with a late repetition',
              {},
              { rows: 40, bytes: 50_000, sent: 4, again: true },
            ] as const,
          ]
        : []),
      [
        'in a message that was cut for the server',
        { maxPayload: 65_536 },
        { rows: 2, bytes: 60_000, sent: 2, again: false },
      ],
    ] as const)('I2: takes in what the log has of it, %s, and goes on', async (_how, settings, big) => {
      fixture = await ClusterFixture.start('shop', settings);
      fixture.sql('a', SCHEMA);
      const gate = new Gate();
      const before = await fixture.replicaWith({ log: gate.around }, 'a', options);
      const b = await fixture.replica('b', options);
      await inserted(before, [1]);
      await published(before);
      const first = before.status().position.seq;
      const log = (await fixture.nats()).log(fixture.cluster);
      await log.open({ create: false });
      const { data } = (await log.lastOf('a'))!;
      gate.closeAfter(big.sent);
      await inserted(
        before,
        Array.from({ length: big.rows }, (_, index) => 100 + index),
        big.bytes,
      );
      await eventually('some parts are in the log', () => gate.isHolding);
      await eventually('the position has passed them', () => stateOf('a').position >= first + big.sent, {
        seen: () => stateOf('a'),
      });
      if (big.again) {
        await new Promise<unknown>((settled) => log.append({ origin: 'a', id: 'late', data }, settled));
        await eventually('the position has passed it', () => stateOf('a').position > first + big.sent);
      }
      expect(stateOf('a')).toMatchObject({ published: 1, own: 2 });
      await copied(fixture.file('a'), fixture.file('copy'));
      gate.open();
      for (const id of [2, 3, 4, 5]) await inserted(before, [id]);
      await published(before);
      await b.caughtUp();
      await before.close();
      await copied(fixture.file('copy'), fixture.file('a'));
      const a = await fixture.replica('a', options);
      await goesOn(a, b, big.rows + 5);
    });

    it('I2: takes in the rest when it was killed while it recovered its own transactions', async () => {
      fixture = await ClusterFixture.start();
      fixture.sql('a', SCHEMA);
      const before = await fixture.replica('a', options);
      const b = await fixture.replica('b', options);
      await inserted(before, [1]);
      await published(before);
      await eventually('its file says so', () => stateOf('a').published === 1);
      await copied(fixture.file('a'), fixture.file('copy'));
      const first = stateOf('copy').position;
      await inserted(
        before,
        Array.from({ length: 40 }, (_, index) => 100 + index),
        50_000,
      );
      await inserted(before, [2]);
      await published(before);
      await b.caughtUp();
      await before.close();
      await copied(fixture.file('copy'), fixture.file('a'));
      const stop = new AbortController();
      const starting = fixture.replicaWith({ log: readingOnly(8) }, 'a', { ...options, signal: stop.signal });
      const ended = expect(starting).rejects.toMatchObject({ code: 'ABORTED' });
      await eventually('it is within its own transactions', () => stateOf('a').position >= first + 8);
      expect(stateOf('a').own).toBe(1);
      await copied(fixture.file('a'), fixture.file('killed'));
      stop.abort();
      await ended;
      await copied(fixture.file('killed'), fixture.file('a'));
      const a = await fixture.replica('a', options);
      await goesOn(a, b, 42);
    });
  },
);

it('I2: a copy looks back in the log as far as its last own transaction is', async () => {
  const options = { topology: { mode: 'multi-primary' }, limits: { connectTimeoutMs: 60_000 } } as const;
  const others = 66_000;
  fixture = await ClusterFixture.start();
  fixture.sql('a', SCHEMA);
  const before = await fixture.replica('a', options);
  const away = await fixture.replica('b', options);
  await away.close();
  await inserted(before, [1]);
  await published(before);
  const log = (await fixture.nats()).log(fixture.cluster);
  await log.open({ create: false });
  const appended = (id: string): Promise<AppendResult> =>
    new Promise((settled) => {
      log.append({ origin: '_barrier', id, data: new Uint8Array([0xc0]) }, settled);
    });
  for (let from = 0; from < others; from += 2000) {
    const results = await Promise.all(
      Array.from({ length: 2000 }, (_, index) => appended(`other-${from + index}`)),
    );
    expect(results.every(({ type }) => type === 'stored')).toBe(true);
  }
  await eventually('the position has passed them', () => stateOf('a').position > others, {
    seen: () => stateOf('a'),
  });
  await copied(fixture.file('a'), fixture.file('copy'));
  await inserted(before, [2]);
  await published(before);
  await before.close();
  await copied(fixture.file('copy'), fixture.file('a'));
  // As a build before stored it where a transaction was refused.
  fixture.sql('a', 'UPDATE _antiphon_state SET published_counter = published_counter - 1');
  const a = await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  await eventually(
    'both have all of it',
    async () => (await count(a, 't')) === 2 && (await count(b, 't')) === 2,
  );
  await goesOn(a, b, 2);
});
