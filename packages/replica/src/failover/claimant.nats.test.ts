import {
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  EPOCH_ORIGIN,
  type Log,
  type Topology,
} from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { insideOf } from '../replica/inside.js';
import type { ClaimRequest } from '../state/protocols.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
/** Twice what a claim takes, questions included. */
const CLAIMED_MS = 1500;

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const claim = (replica: SqliteReplica, request: ClaimRequest): Promise<void> =>
  insideOf(replica).replica.ask('claim', request);
const epoch = (replica: SqliteReplica): number => replica.status().epoch?.number ?? 0;

async function two(mode: 'manual' | 'automatic'): Promise<readonly [SqliteReplica, SqliteReplica]> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const a = await fixture.replica('a', { topology, failover: { mode } });
  const b = await fixture.replica('b', { topology, failover: { mode } });
  await a.execute([{ sql: 'INSERT INTO t VALUES (1)' }]);
  await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1n'));
  return [a, b];
}

it('I9: takes nothing back from a primary that has begun', async () => {
  const [a, b] = await two('manual');
  await a.switchOver('b');
  const before = epoch(b);
  // As one that was cut off when it wanted this, and is back.
  await claim(a, { why: 'switchover', ending: before, unlessBegun: 'b' });
  await pause(CLAIMED_MS);
  await b.execute([{ sql: 'INSERT INTO t VALUES (2)' }]);
  expect([epoch(a), epoch(b)]).toEqual([before, before]);
  expect(b.status().rescued).toBe(0);
});

it('I9: claims nothing for somebody whose time is over', async () => {
  const [a, b] = await two('manual');
  const before = epoch(a);
  await claim(b, { why: 'forced', untilMs: insideOf(b).scope.clock.monotonicMs() - 1 });
  await pause(CLAIMED_MS);
  expect([epoch(a), epoch(b)]).toEqual([before, before]);
  expect(await b.takeOver()).toMatchObject({ elected: true, epoch: before + 1 });
});

it('I9: claims no role of a lease that another replica has taken since', async () => {
  const [a, b] = await two('automatic');
  await eventually('a is the primary', () => a.status().lifecycle === 'primary');
  const before = epoch(a);
  await claim(b, { why: 'failover', withLease: true });
  await pause(CLAIMED_MS);
  await a.execute([{ sql: 'INSERT INTO t VALUES (2)' }]);
  expect([epoch(a), epoch(b)]).toEqual([before, before]);
});

it('I9: goes on where the log names this replica, also when the time of a call is over', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  let isSilent = false;
  const log = (real: Log): Log =>
    new Proxy(real, {
      get(target, name) {
        if (name === 'append')
          return (request: AppendRequest, settle: (result: AppendResult) => void): void => {
            if (!isSilent || request.origin !== EPOCH_ORIGIN) return target.append(request, settle);
            settle({ type: 'unknown', error: new AntiphonError('LOG_UNAVAILABLE', 'The log is silent.') });
          };
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  const a = await fixture.replicaWith({ log }, 'a', { topology, failover: { mode: 'manual' } });
  const b = await fixture.replica('b', { topology, failover: { mode: 'manual' } });
  await a.execute([{ sql: 'INSERT INTO t VALUES (1)' }]);
  const before = epoch(a);
  isSilent = true;
  await expect(a.switchOver('b', { timeoutMs: 500 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  // Instead of the claim that takes the hand-over back.
  await claim(a, { why: 'forced', untilMs: insideOf(a).scope.clock.monotonicMs() + 100 });
  await pause(CLAIMED_MS);
  isSilent = false;
  await eventually('it is the primary again', () => a.status().lifecycle === 'primary');
  expect(a.status().epoch).toMatchObject({ number: before + 1, primary: 'a', why: 'restart' });
  await eventually('b knows', () => epoch(b) === before + 1);
});
