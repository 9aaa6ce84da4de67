import type { Bus, Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { insideOf } from '../replica/inside.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const MODES = [
  { update: { mode: 'async' }, failover: { mode: 'manual' } },
  { update: { mode: 'sync', acks: 'majority' }, failover: { mode: 'automatic' } },
] as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, replica.id] }]);
}

/** What a primary asks one member waits there. */
class HeldQuestions {
  #release: () => void = () => undefined;
  readonly #free = new Promise<void>((resolve) => (this.#release = resolve));
  asked = 0;

  constructor(private readonly to: string) {}

  release(): void {
    this.#release();
  }

  readonly of = (real: Bus): Bus => {
    const request: Bus['request'] = async (subject, ...rest) => {
      if (subject.endsWith(`.replica.${this.to}.ping`)) {
        this.asked++;
        await this.#free;
      }
      return real.request(subject, ...rest);
    };
    return new Proxy(real, {
      get(target, name) {
        if (name === 'request') return request;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  };
}

describe.each(MODES)('switchovers that overlap, %o', (settings) => {
  it('I7: hands over in the epoch of now, where one of its own has passed while it asked', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const questions = new HeldQuestions('c');
    const ended = new AbortController();
    const onLifecycle = (state: string): void => {
      if (state === 'draining') ended.abort();
    };
    const options = { topology, ...settings };
    const a = await fixture.replicaWith({ bus: questions.of }, 'a', { ...options, onLifecycle });
    const b = await fixture.replica('b', options);
    const c = await fixture.replica('c', options);
    await write(a, 1);
    const second = a.switchOver('c', { timeoutMs: 5000 });
    second.catch(() => undefined);
    await eventually('c is asked', () => questions.asked > 0);
    await expect(a.switchOver('b', { timeoutMs: 5000, signal: ended.signal })).rejects.toThrow();
    await eventually('it is taken back', () => (a.status().epoch?.number ?? 0) > 1);
    questions.release();
    expect(await second).toMatchObject({ primary: 'c', elected: true });
    for (const [index, replica] of [a, b, c].entries()) await write(replica, 10 + index);
    await eventually('all have all', async () => {
      const rows = await Promise.all([a, b, c].map((replica) => rowsOf(replica, 't')));
      return rows.every((one) => one === rows[0] && one.split('},').length === 4);
    });
    expect([a, b, c].map((replica) => replica.status().rescued)).toEqual([0, 0, 0]);
  });

  it('I7: is done one after the other, where both begin at once', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const options = { topology, ...settings };
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    const c = await fixture.replica('c', options);
    await write(a, 1);
    const both = await Promise.allSettled([a.switchOver('b'), a.switchOver('c')]);
    const done = both.filter(({ status }) => status === 'fulfilled');
    const [refused] = both.filter(({ status }) => status === 'rejected');
    expect(done).toMatchObject([{ value: { elected: true, epoch: 2 } }]);
    expect(refused).toMatchObject({ reason: { code: 'NOT_WRITABLE' } });
    for (const [index, replica] of [a, b, c].entries()) await write(replica, 10 + index);
  });
});

describe('a hand-over of which nobody waits for the end', () => {
  it('I7: does not begin when its turn comes too late', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', { topology, failover: { mode: 'automatic' } });
    await eventually('it has its lease', () => a.status().lifecycle === 'primary');
    const epoch = a.status().epoch?.number ?? 0;
    const late = { epoch, holdMs: 200, beforeMs: 0 };
    await expect(insideOf(a).replica.ask('handOver', late)).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(a.status().lifecycle).toBe('primary');
    await write(a, 1);
  });

  it('I7: is taken back by the primary', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const a = await fixture.replica('a', { topology, failover: { mode: 'automatic' } });
    await write(a, 1);
    const epoch = a.status().epoch?.number ?? 0;
    await insideOf(a).replica.ask('handOver', { epoch, holdMs: 200, beforeMs: Infinity });
    expect(a.status().lifecycle).toBe('draining');
    await eventually('it is the primary again', () => a.status().lifecycle === 'primary');
    await write(a, 2);
    expect(a.status()).toMatchObject({ rescued: 0, epoch: { number: epoch + 1, primary: 'a' } });
  });
});
