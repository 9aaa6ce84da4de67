import { remoteRef } from '@antiphon/actor';
import { mailboxPrefix, systemClock } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import type { MailboxProtocol } from '../service/mailbox-protocol.js';
import { ClusterFixture } from '../testing/cluster-fixture.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)';
const COUNT = { sql: 'SELECT count(*) FROM t', params: [], maxRows: 1 };
const behind = { code: 'TIMEOUT', context: expect.objectContaining({ behind: true }) as object };

it('I12: while another program holds the lock, reads go on, and only those of a session say that they cannot', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  await cluster.replica('a');
  const mailbox = remoteRef<MailboxProtocol>(
    (await cluster.nats()).bus(),
    mailboxPrefix(cluster.cluster, 'a'),
  );
  const first = await mailbox.ask('query', COUNT);
  expect(first.position).toBeDefined();
  using other = new DatabaseSync(cluster.file('a'), { timeout: 5000 });
  other.exec("INSERT INTO t VALUES (1, 'of a shell'); BEGIN IMMEDIATE");
  for (let n = 0; n < 3; n++) {
    const seen = await mailbox.ask('query', COUNT, { timeoutMs: 4000 });
    expect(seen.rows).toEqual([[1n]]);
    expect(seen.position).toBeUndefined();
  }
  await expect(mailbox.ask('query', { ...COUNT, placed: true })).rejects.toMatchObject(behind);
  const after = { consistency: 'session', after: first.position! } as const;
  await expect(mailbox.ask('query', { ...COUNT, ...after })).rejects.toMatchObject(behind);
  other.exec('COMMIT');
  await eventually('it has a place', async () => (await mailbox.ask('query', COUNT)).position !== undefined);
  const placed = await mailbox.ask('query', { ...COUNT, placed: true });
  expect(placed.position?.vector).toEqual({ a: 1 });
});

it('I12: while the clock is far ahead, reads go on', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  let aheadMs = 0;
  const clock = { ...systemClock(), nowMs: () => Date.now() + aheadMs };
  const a = await cluster.replicaWith({ clock }, 'a', { limits: { beatMs: 100 } });
  const mailbox = remoteRef<MailboxProtocol>(
    (await cluster.nats()).bus(),
    mailboxPrefix(cluster.cluster, 'a'),
  );
  aheadMs = 3_600_000;
  await eventually('it says so', () => a.status().clock.refusing === true, 20_000);
  await cluster.sqlWhenFree('a', "INSERT INTO t VALUES (1, 'of a shell')");
  const seen = await mailbox.ask('query', COUNT, { timeoutMs: 5000 });
  expect(seen.rows).toEqual([[1n]]);
  expect(seen.position).toBeUndefined();
});
