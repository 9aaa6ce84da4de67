import { remoteRef } from '@antiphon/actor';
import { type Beat, decodeBeat, mailboxPrefix } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import type { MailboxProtocol } from '../service/mailbox-protocol.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology = { mode: 'primary-replica', primary: 'a' } as const;

it('a drained replica says so at once, is not ready, and follows and answers as before', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const a = await fixture.replica('a', { topology });
  const b = await fixture.replica('b', { topology, reads: { weight: 3, zone: 'eu' } });
  const bus = (await fixture.nats()).bus();
  const beats: Beat[] = [];
  bus.subscribe(`antiphon.${fixture.cluster}.beat.b`, ({ data }) => void beats.push(decodeBeat(data)));
  const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'b'));
  expect((await mailbox.ask('beat')).reads).toEqual({ weight: 3, zone: 'eu', isDrained: false });
  expect((await mailbox.ask('beat')).primary).toEqual({ epoch: 0, id: 'a' });
  await eventually('it is ready', () => b.healthcheck().ready);

  await mailbox.ask('drain');
  await eventually('its beat says so', () => beats.at(-1)?.reads.isDrained === true, 500);
  const { drainedSinceMs } = b.status().reads;
  b.reads.drain();
  expect(b.status().reads, 'twice is like once').toEqual({ weight: 3, zone: 'eu', drainedSinceMs });
  expect(b.healthcheck()).toMatchObject({
    ready: false,
    live: true,
    problems: ['b is drained. `antiphon resume b` ends that.'],
  });
  await a.execute([{ sql: 'INSERT INTO t VALUES (1)' }]);
  await eventually('it follows', async () => (await b.query('SELECT * FROM t')).length === 1);

  await mailbox.ask('resume');
  await eventually('its beat says so', () => beats.at(-1)?.reads.isDrained === false, 500);
  expect(b.healthcheck()).toMatchObject({ ready: true, problems: [] });
  expect(b.status().reads).toEqual({ weight: 3, zone: 'eu' });
});

it.each([
  { weight: 0 },
  { weight: 'many' },
  { weight: 1001 },
  { zone: '' },
  { zone: 7 },
  { wieght: 1 },
  'eu',
])('I15: `reads` of %j is refused', async (reads) => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const options = { topology, reads } as unknown as { reads: { weight: number } };
  await expect(fixture.replica('a', options)).rejects.toMatchObject({ code: 'BAD_OPTION' });
});
