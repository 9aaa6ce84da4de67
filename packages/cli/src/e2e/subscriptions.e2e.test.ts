import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { openDatabase, sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { antiphon, antiphonJson, temporaryFolder } from './antiphon.js';

it('subscriptions shows them, active or not, and removes one', async () => {
  const folder = temporaryFolder();
  const where = { cwd: folder.path };
  const server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  try {
    const target = ['--servers', server.url, '--cluster', 'shop'];
    const file = join(folder.path, 'shop.db');
    const db = openDatabase(file);
    db.exec('CREATE TABLE t (id TEXT PRIMARY KEY)');
    db.close();
    const options = { cluster: 'shop', id: 'eu-1', servers: server.url, store: sqlite({ file }) };
    await using replica = await createReplica(options);
    expect((await antiphon(['subscriptions', ...target], where)).stdout).toBe(
      'There are no durable subscriptions.\n',
    );

    const mailer = replica.subscribe('mailer', { from: 'beginning' });
    await using search = replica.subscribe('search', { from: 'beginning' });
    await replica.execute([{ sql: "INSERT INTO t VALUES ('x')" }]);
    const { value } = await mailer.next();
    if (value !== undefined) await mailer.ack(value);
    await search.next();
    await mailer.close();
    const { subscriptions } = await antiphonJson<{ subscriptions: readonly object[] }>(
      ['subscriptions', ...target],
      where,
    );
    expect(subscriptions).toMatchObject([
      { name: 'mailer', epoch: 1, lagEntries: expect.any(Number) as number },
      { name: 'search', epoch: 1, holder: { replica: 'eu-1' } },
    ]);
    const { stdout } = await antiphon(['subscriptions', ...target], where);
    expect(stdout).toMatch(/^subscription +active on +epoch +lag +last written\nmailer +nobody +1 /);
    expect(stdout).toMatch(/^search +eu-1 +1 /m);
    await eventually('status shows what is active there', async () => {
      const [status] = (
        await antiphonJson<{ replicas: readonly { status: object }[] }>(['status', ...target], where)
      ).replicas;
      return JSON.stringify(status).includes('"subscriptions":[{"name":"search","state":"active"');
    });

    const wrong = await antiphon(['subscriptions', '--remove', 'mailr', ...target], where);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('Did you mean "mailer"?');
    const removed = await antiphon(['subscriptions', '--remove', 'search', ...target], where);
    expect(removed.stdout).toMatch(/^search is removed\. It was active on eu-1, where it ends now\.\n/);
    await expect(search.next()).rejects.toMatchObject({ code: 'SUBSCRIPTION_LOST' });
    const left = await antiphonJson<{ subscriptions: readonly object[] }>(
      ['subscriptions', ...target],
      where,
    );
    expect(left.subscriptions).toMatchObject([{ name: 'mailer' }]);
  } finally {
    await server.stop();
    folder.remove();
  }
});
