import type { LeaseRecord } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { permissionsOf, type Permissions } from '../permissions.js';
import { Fixture } from '../testing/fixture.js';
import { GuardedServer } from '../testing/guarded-server.js';

const RECORD: LeaseRecord = { epoch: 1, holder: 'r1', instance: 'i1', leaseMs: 2000, n: 1 };

describe('the stream of a lease', () => {
  let fixture: Fixture;
  let nats: NatsHandle;
  beforeAll(async () => {
    fixture = await Fixture.start();
    nats = await fixture.connect();
  });
  afterAll(() => fixture.stop());

  it('keeps its newest message, on the disk', async () => {
    const lease = nats.lease('shop');
    for (let n = 1, seq = 0; n <= 3; n++) {
      const taken = await lease.take({ ...RECORD, n }, seq);
      expect(taken).toEqual({ type: 'taken', seq: n });
      seq = n;
    }
    const { config, state } = await nats.api.streamInfo('ANTIPHON-LEASE_shop');
    expect(config).toMatchObject({
      ...{ subjects: ['antiphon.shop.lease'], storage: 'file', max_msgs: 1, discard: 'old' },
      num_replicas: 1,
    });
    // Servers before 2.9 do not know it, later ones leave out what is false.
    expect(config.allow_direct ?? false).toBe(false);
    expect(state).toMatchObject({ messages: 1, last_seq: 3 });
  });

  it('is made once by all who need it at the same moment', async () => {
    const handles = await Promise.all(Array.from({ length: 4 }, () => fixture.connect()));
    const takes = await Promise.all(
      handles.map((handle, n) => handle.lease('rush').take({ ...RECORD, instance: `i${n}` }, 0)),
    );
    expect(takes.map(({ type }) => type).sort()).toEqual(['lost', 'lost', 'lost', 'taken']);
  });

  it('is not taken where its name is that of something else', async () => {
    await nats.api.createStream({ name: 'ANTIPHON-LEASE_bar', subjects: ['bar.events'] });
    await nats.connection.request('bar.events', 'mine');
    const lease = nats.lease('bar');
    await expect(lease.open()).rejects.toMatchObject({ code: 'LOG_REFUSED' });
    await expect(lease.read()).rejects.toMatchObject({ code: 'LOG_REFUSED' });
    expect(await lease.take(RECORD, 0)).toMatchObject({ type: 'unknown', error: { code: 'LOG_REFUSED' } });
    expect((await nats.api.streamInfo('ANTIPHON-LEASE_bar')).state.messages).toBe(1);
  });

  it.each(['foo_LEASE', 'LEASE_foo', 'foo-LEASE'])(
    'is never that of the log of a cluster called %s',
    async (name) => {
      const lease = nats.lease('foo');
      await lease.open();
      const log = nats.log(name);
      await log.open({ create: true });
      await lease.read();
    },
  );
});

describe('permissions for a lease', () => {
  const userOf = (name: string, { publish, subscribe }: Permissions): string =>
    `{ user: ${name}, password: p, permissions: { publish: ${JSON.stringify(publish)}, subscribe: ${JSON.stringify(subscribe)} } }`;
  const replica = (id: string): Permissions => permissionsOf('replica', 'shop', { id });

  it('are those of a replica: to make, to take and to hear it', async () => {
    await using server = await GuardedServer.start(
      `authorization { users: [${userOf('a', replica('a'))}, ${userOf('b', replica('b'))}, ${userOf('c', permissionsOf('reader', 'shop'))}] }`,
    );
    await using a = await connectNats({ servers: server.url('a:p') });
    await using b = await connectNats({ servers: server.url('b:p') });
    await using c = await connectNats({ servers: server.url('c:p') });
    const lease = a.lease('shop');
    const heard: LeaseRecord[] = [];
    b.lease('shop').onRenewal((record) => heard.push(record));
    await lease.open();
    let n = 0;
    await eventually('b hears it', async () => {
      expect(await lease.take({ ...RECORD, n: n + 1 }, n)).toEqual({ type: 'taken', seq: n + 1 });
      n += 1;
      return heard.length > 0;
    });
    expect(await c.lease('shop').read()).toEqual({ seq: n, record: { ...RECORD, n } });
    expect(await c.lease('shop').take(RECORD, n)).toMatchObject({
      type: 'unknown',
      error: { code: 'ACCESS_DENIED', context: { subject: 'antiphon.shop.lease' } },
    });
    expect([...a.denials.all, ...b.denials.all]).toEqual([]);
  });
});
