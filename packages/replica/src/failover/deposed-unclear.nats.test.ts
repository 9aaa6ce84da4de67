import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Log, Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture, rowsOf } from '../testing/cluster-fixture.js';
import { flakyLog, type Flakiness } from '../testing/flaky-log.js';
import { seeded } from '../testing/seeded.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const update = { mode: 'sync', acks: 1, minInSync: 1, foreignWrites: 'async' } as const;
const options = { topology, update, failover: { mode: 'manual' } } as const;

it('I9: a primary with an attempt without an answer gets past what it quarantines, to the epoch that deposes it', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const flakiness: Flakiness = { lost: 0, silent: 0, refused: 0 };
  const log = (real: Log): Log => flakyLog(real, flakiness, seeded(1));
  const a = await fixture.replicaWith({ log }, 'a', options);
  const b = await fixture.replica('b', options);
  await a.execute([{ sql: "INSERT INTO t VALUES (1, 'everywhere')" }]);

  Object.assign(flakiness, { lost: 1 });
  const insert = { sql: "INSERT INTO t VALUES (2, 'without an answer')" };
  await expect(a.execute([insert], { timeoutMs: 300 })).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  const shell = promisify(execFile);
  await shell('sqlite3', ['-cmd', '.timeout 10000', fixture.file('a'), "INSERT INTO t VALUES (3, 'shell')"]);
  const stranger = (await fixture.nats()).log('shop');
  await stranger.open({ create: false });
  await new Promise<void>((resolve) => {
    stranger.append({ origin: 'ghost', id: 'g1', data: Buffer.from('hello') }, () => resolve());
  });
  expect(await b.takeOver()).toMatchObject({ elected: true });
  Object.assign(flakiness, { lost: 0 });

  await eventually('a follows', () => a.status().lifecycle === 'following', 20_000);
  await b.execute([{ sql: "INSERT INTO t VALUES (4, 'of b')" }]);
  await eventually('a has it', async () => (await rowsOf(a, 't')).includes('of b'));
  expect(await rowsOf(a, 't')).toBe(await rowsOf(b, 't'));
  expect(a.status()).toMatchObject({ role: 'replica', quarantined: 1, rescued: 1 });
  const { transactions } = await a.rescue.list();
  const { shown } = await a.rescue.show(transactions[0]?.id ?? 0);
  expect(shown.map(({ op, key }) => [op, ...key].join(' '))).toEqual(['insert 3']);
}, 60_000);
