import { DatabaseSync } from 'node:sqlite';
import {
  AntiphonError,
  type Bus,
  type BusRequest,
  systemClock,
  type Topology,
  UnknownOutcomeError,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { newId } from '../config/ids.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { mode: 'manual' } as const;
const MODES = {
  asynchronous: { topology, failover },
  synchronous: { topology, failover, update: { mode: 'sync', acks: 'majority' } },
} as const;
const insert = (id: number, v = 'x') => [{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, v] }];
const ADD = [{ sql: 'UPDATE t SET v = v + 1 WHERE id = 1' }];

async function two(options: (typeof MODES)[keyof typeof MODES]): Promise<[SqliteReplica, SqliteReplica]> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  return [await fixture.replica('a', options), await fixture.replica('b', options)];
}

describe.each(Object.entries(MODES))('execute on another replica than the primary, %s', (_, options) => {
  it('goes to the primary, and a session reads it anywhere', async () => {
    const [a, b] = await two(options);
    const written = await b.execute(insert(1));
    expect(written).toMatchObject({ outcome: 'committed', id: { origin: 'a' }, value: [1] });
    expect(written.repeated).toBeUndefined();
    for (const replica of [a, b]) {
      const session = { consistency: 'session', after: written.position } as const;
      expect(await replica.query('SELECT id FROM t', [], session)).toEqual([{ id: 1n }]);
    }
    await expect(b.transaction(() => 1)).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      context: { primary: 'a' },
    });
  });

  it('fails as it would there', async () => {
    const [a, b] = await two(options);
    await a.execute(insert(1));
    await expect(b.execute(insert(1))).rejects.toMatchObject({ code: 'CONSTRAINT' });
    await expect(b.execute([{ sql: 'INSERT INTO nowhere VALUES (1)' }])).rejects.toMatchObject({
      code: 'BAD_SQL',
    });
  });

  it('writes a batch only where each statement changes as many rows as it says', async () => {
    const [a, b] = await two(options);
    await a.execute(insert(1, '1'));
    const take = (rows: number): { sql: string; params?: [number, string]; rows?: number }[] => [
      ...insert(9, 'log').map((statement) => ({ ...statement, params: [9, 'log'] as [number, string] })),
      { sql: 'UPDATE t SET v = v - 1 WHERE id = 1 AND v > 0', rows },
    ];
    for (const replica of [a, b])
      await expect(replica.execute(take(2))).rejects.toMatchObject({
        ...{ code: 'UNEXPECTED_ROWS', retriable: false },
        context: expect.objectContaining({ statement: 1, changed: 1, expected: 2 }) as unknown,
        message: expect.stringMatching(/^Statement 2 changed 1 rows, and is to change 2\./) as string,
      });
    const written = await b.execute(take(1));
    expect(written.value).toEqual([1, 1]);
    await expect(b.execute(take(1).slice(1))).rejects.toMatchObject({ code: 'UNEXPECTED_ROWS' });
    const after = { consistency: 'session', after: written.position } as const;
    expect(await b.query('SELECT id, v FROM t ORDER BY id', [], after)).toEqual([
      { id: 1n, v: 0n },
      { id: 9n, v: 'log' },
    ]);
    for (const rows of [-1, 1.5, '1', null])
      for (const replica of [a, b])
        await expect(
          replica.execute([{ sql: 'DELETE FROM t', rows: rows as unknown as number }]),
        ).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('I8: is written once under one id, however often and wherever it comes', async () => {
    const [a, b] = await two(options);
    const requestId = newId();
    const answers = await Promise.all(
      [a, a, b, b].map((replica) => replica.execute(insert(1), { requestId })),
    );
    expect(answers.map(({ value }) => value)).toEqual([[1], [1], [1], [1]]);
    expect(answers.filter(({ repeated }) => repeated === true)).toHaveLength(3);
    expect(await b.execute(insert(1), { requestId })).toMatchObject({ repeated: true, value: [1] });
    await eventually('b has it', async () => (await rowsOf(b, 't')) === (await rowsOf(a, 't')));
    expect(await rowsOf(a, 't')).toBe('[{"id":"1n","v":"x"}]');
  });
});

describe('a primary that cannot begin', () => {
  async function locked(): Promise<[SqliteReplica, DatabaseSync]> {
    const [, b] = await two(MODES.asynchronous);
    const other = new DatabaseSync(fixture.file('a'), { timeout: 0 });
    other.exec('BEGIN IMMEDIATE');
    return [b, other];
  }

  it(
    'I8: says so of a request that waited for longer than an answer may take',
    { timeout: 30_000 },
    async () => {
      const [b, other] = await locked();
      try {
        await expect(b.execute(insert(1), { timeoutMs: 7000 })).rejects.toMatchObject({
          code: expect.stringMatching(/^(TIMEOUT|STORE_BUSY)$/) as string,
        });
      } finally {
        other.close();
      }
      await b.execute(insert(2));
      expect(await rowsOf(b, 't')).not.toContain('1n');
    },
  );

  it('does not begin what its caller has given up', async () => {
    const [b, other] = await locked();
    try {
      const ending = new AbortController();
      const enough = new Error('enough');
      setTimeout(() => ending.abort(enough), 300);
      const startedMs = performance.now();
      await expect(b.execute(insert(1), { signal: ending.signal })).rejects.toBe(enough);
      expect(performance.now() - startedMs).toBeLessThan(3000);
    } finally {
      other.close();
    }
    await b.execute(insert(2));
    expect(await rowsOf(b, 't')).not.toContain('1n');
  });

  it('I8: says CLOSED, and not that somebody gave up, where the other replica closes', async () => {
    const [b, other] = await locked();
    try {
      const written = b.execute(insert(1), { timeoutMs: 20_000 });
      written.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await b.close();
      await expect(written).rejects.toMatchObject({
        code: 'CLOSED',
        message: 'Replica b is closing. Nothing was written.',
      });
    } finally {
      other.close();
    }
  });

  it.each([
    ['gives up', 20_000],
    ['has little time', 1000],
  ])('I8: writes a request for one caller where another one %s', async (what, timeoutMs) => {
    const [b, other] = await locked();
    const c = await fixture.replica('c', MODES.asynchronous);
    try {
      const requestId = newId();
      const ending = new AbortController();
      const first = b.execute(insert(1), { requestId, timeoutMs, signal: ending.signal });
      await new Promise((resolve) => setTimeout(resolve, 200));
      const second = c.execute(insert(1), { requestId, timeoutMs: 20_000 });
      second.catch(() => undefined);
      if (what === 'gives up') setTimeout(() => ending.abort(), 300);
      const code = what === 'gives up' ? /^ABORTED$/ : /^(TIMEOUT|STORE_BUSY)$/;
      await expect(first).rejects.toMatchObject({ code: expect.stringMatching(code) as string });
      await new Promise((resolve) => setTimeout(resolve, 300));
      other.exec('ROLLBACK');
      expect(await second).toMatchObject({ value: [1], id: { origin: 'a' } });
    } finally {
      other.close();
    }
  });

  it('I8: tells a caller that gave up what another one has written under the same id', async () => {
    const [b, other] = await locked();
    const c = await fixture.replica('c', MODES.asynchronous);
    try {
      const requestId = newId();
      const first = b.execute(insert(1), { requestId, timeoutMs: 20_000 });
      await new Promise((resolve) => setTimeout(resolve, 200));
      const ending = new AbortController();
      const second = c.execute(insert(1), { requestId, timeoutMs: 20_000, signal: ending.signal });
      await new Promise((resolve) => setTimeout(resolve, 200));
      ending.abort();
      await new Promise((resolve) => setTimeout(resolve, 200));
      other.exec('ROLLBACK');
      expect((await first).repeated).toBeUndefined();
      expect(await second).toMatchObject({ repeated: true, value: [1] });
    } finally {
      other.close();
    }
  });
});

it(
  'I8: a question that comes late is not written where a later one was refused',
  { timeout: 30_000 },
  async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 0)');
    const late = new LateBus();
    const a = await fixture.replica('a', MODES.synchronous);
    const b = await fixture.replicaWith({ bus: (real) => late.of(real) }, 'b', MODES.synchronous);
    const requestId = newId();
    late.isLate = true;
    const refused = b.execute(insert(1), { requestId, timeoutMs: 20_000 });
    refused.catch(() => undefined);
    await eventually('it has asked', () => late.waiting > 0);
    late.isLate = false;
    await expect(refused).rejects.toMatchObject({ code: 'CONSTRAINT' });
    await a.execute([{ sql: 'DELETE FROM t' }]);
    await late.deliver();
    expect(await rowsOf(a, 't')).toBe('[]');
    // Another call is another matter: it may be repeated once nothing is in its way any more.
    expect((await b.execute(insert(1), { requestId })).repeated).toBeUndefined();
  },
);

it('I8: a replica whose clock is hours behind has its requests written', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  await fixture.replica('a', MODES.asynchronous);
  const clock = changed(systemClock(), { nowMs: () => Date.now() - 3 * 3_600_000 });
  const b = await fixture.replicaWith({ clock }, 'b', MODES.asynchronous);
  expect(await b.execute(insert(1))).toMatchObject({ id: { origin: 'a' } });
});

describe('where the primary changes', () => {
  it('I8: the next one knows what the last one wrote and did not answer', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const options = MODES.synchronous;
    const mute = new MuteBus();
    const a = await fixture.replicaWith({ bus: (real) => mute.of(real) }, 'a', options);
    const b = await fixture.replica('b', options);
    const c = await fixture.replica('c', options);
    mute.isMute = true;
    const written = c.execute(insert(1), { timeoutMs: 20_000 });
    await eventually('b has it', async () => (await rowsOf(b, 't')) !== '[]');
    await a.close();
    await b.takeOver();
    expect(await written).toMatchObject({ repeated: true, value: [1] });
    await eventually('c has it', async () => (await rowsOf(c, 't')) !== '[]');
    expect(await rowsOf(b, 't')).toBe('[{"id":"1n","v":"x"}]');
  });

  it('I8: an answer that was lost is asked for again', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const mute = new MuteBus();
    const a = await fixture.replicaWith({ bus: (real) => mute.of(real) }, 'a', MODES.asynchronous);
    const b = await fixture.replica('b', MODES.asynchronous);
    mute.isMute = true;
    const written = b.execute(insert(1), { timeoutMs: 20_000 });
    await eventually('a has it', async () => (await rowsOf(a, 't')) !== '[]');
    mute.isMute = false;
    expect(await written).toMatchObject({ repeated: true, value: [1] });
  });

  it('an answer that never comes leaves the id of the request, and what to do with it', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const mute = new MuteBus();
    await fixture.replicaWith({ bus: (real) => mute.of(real) }, 'a', MODES.synchronous);
    const b = await fixture.replica('b', MODES.synchronous);
    mute.isMute = true;
    const error: unknown = await b.execute(insert(1), { timeoutMs: 500 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UnknownOutcomeError);
    const { id, message } = error as UnknownOutcomeError;
    expect(message).toContain(`requestId: '${id}'`);
    mute.isMute = false;
    expect(await b.outcome(id)).toEqual({ outcome: 'committed', id });
    expect(await b.execute(insert(1), { requestId: id })).toMatchObject({ repeated: true, value: [1] });
    expect(await b.outcome(newId())).toMatchObject({ outcome: 'unknown' });
  });

  it('waits for the next one while there is none, and for no longer than it may', async () => {
    const [a, b] = await two(MODES.asynchronous);
    await a.close();
    await expect(b.execute(insert(1), { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'NO_ACTOR',
      message: expect.stringMatching(
        /^The primary a does not answer\. .*`antiphon failover ID`\. Nothing was written within/,
      ) as string,
    });
    const giveUp = new AbortController();
    const aborted = b.execute(insert(1), { signal: giveUp.signal });
    setTimeout(() => giveUp.abort(), 100);
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    const written = b.execute(insert(2));
    await b.takeOver();
    expect(await written).toMatchObject({ id: { origin: 'b' } });
    expect(await rowsOf(b, 't')).toBe('[{"id":"2n","v":"x"}]');
  });

  it('I11: takes no more than may wait', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    const limits = { waitingWrites: 10 };
    const a = await fixture.replica('a', { ...MODES.asynchronous, limits });
    const b = await fixture.replica('b', { ...MODES.asynchronous, limits });
    await a.close();
    const answers = Array.from({ length: 12 }, (_, id) => b.execute(insert(id)));
    const settled = Promise.allSettled(answers);
    await expect(answers.at(-1)).rejects.toMatchObject({ code: 'OVERLOADED' });
    await b.takeOver();
    const written = (await settled).filter(({ status }) => status === 'fulfilled');
    expect(written).toHaveLength(10);
  });

  it('ends with CLOSED when its replica closes first', async () => {
    const [a, b] = await two(MODES.asynchronous);
    await a.close();
    const written = b.execute(insert(1));
    written.catch(() => undefined);
    await b.close();
    await expect(written).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('I8: counters of callers that try again are exact', { timeout: 60_000 }, async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 0)');
    const members = [
      await fixture.replica('a', MODES.synchronous),
      await fixture.replica('b', MODES.synchronous),
      await fixture.replica('c', MODES.synchronous),
    ];
    let stopped = false;
    let added = 0;
    const callers = members.map(async (replica) => {
      while (!stopped) {
        await addOnce(replica);
        added++;
      }
    });
    for (let round = 0; round < 6; round++) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      await members[(round + 1) % 3]?.takeOver();
    }
    stopped = true;
    await Promise.all(callers);
    const [row] =
      (await members[1]?.query<{ v: bigint }>('SELECT v FROM t', [], { consistency: 'strong' })) ?? [];
    expect(Number(row?.v)).toBe(added);
    expect(added).toBeGreaterThan(30);
  });
});

describe.each(Object.entries(MODES))('a switchover, %s', (_, options) => {
  it('is nothing that callers of execute notice', { timeout: 60_000 }, async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 0)');
    const members = [await fixture.replica('a', options), await fixture.replica('b', options)];
    const [a, b] = members as [SqliteReplica, SqliteReplica];
    let stopped = false;
    let added = 0;
    const callers = [a, b, b].map(async (replica) => {
      while (!stopped) {
        expect((await replica.execute(ADD)).value).toEqual([1]);
        added++;
      }
    });
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      expect(await from.switchOver(to.id)).toMatchObject({ elected: true });
      await eventually('the other one follows', () => from.status().lifecycle === 'following');
    }
    stopped = true;
    await Promise.all(callers);
    await eventually('all have arrived', async () => {
      const rows = await Promise.all(members.map((replica) => rowsOf(replica, 't')));
      return rows.every((one) => one === JSON.stringify([{ id: '1n', v: `${added}n` }]));
    });
    expect(added).toBeGreaterThan(30);
  });
});

/** However long it takes: no answer that is certain ends it. */
async function addOnce(replica: SqliteReplica): Promise<void> {
  const requestId = newId();
  for (;;) {
    try {
      await replica.execute(ADD, { requestId });
      return;
    } catch (error) {
      const { code } = error as { code: string };
      if (
        ![
          'OUTCOME_UNKNOWN',
          'NOT_WRITABLE',
          'NO_ACTOR',
          'TIMEOUT',
          'NOT_IN_SYNC',
          'LOG_UNAVAILABLE',
        ].includes(code)
      )
        throw error;
    }
  }
}

/** Whoever asks for a write gets no answer while it is mute. */
class MuteBus {
  isMute = false;

  of(real: Bus): Bus {
    return {
      publish: (subject, data) => real.publish(subject, data),
      request: (subject, data, options) => real.request(subject, data, options),
      subscribe: (subject, handler, options) =>
        real.subscribe(
          subject,
          (request) =>
            handler(
              subject.endsWith('.execute')
                ? { ...request, respond: (data) => this.#answer(request, data) }
                : request,
            ),
          options,
        ),
    };
  }

  #answer(request: BusRequest, data: Uint8Array): void {
    if (!this.isMute) request.respond?.(data);
  }
}

/** What is asked for while it is late is on its way until it is delivered. */
class LateBus {
  isLate = false;
  readonly #waiting: (() => Promise<unknown>)[] = [];

  get waiting(): number {
    return this.#waiting.length;
  }

  of(real: Bus): Bus {
    return {
      publish: (subject, data) => real.publish(subject, data),
      subscribe: (subject, handler, options) => real.subscribe(subject, handler, options),
      request: (subject, data, options) => {
        if (!this.isLate || !subject.endsWith('.execute')) return real.request(subject, data, options);
        this.#waiting.push(() => real.request(subject, data, { timeoutMs: 10_000 }));
        return new Promise((_, reject) => {
          const given = (): void => reject(new AntiphonError('ABORTED', 'Given up.'));
          options.signal?.addEventListener('abort', given, { once: true });
        });
      },
    };
  }

  async deliver(): Promise<void> {
    await Promise.all(this.#waiting.map((ask) => ask()));
  }
}
