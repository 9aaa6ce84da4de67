import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { permissionsOf } from '@antiphon/nats';
import { createReplica, type Replica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accountsText, usersText, type Users } from '../../nats/src/testing/accounts.js';
import { GuardedServer } from '../../nats/src/testing/guarded-server.js';
import type { Client } from './client.js';
import { connect } from './connect.js';

const replicaB = permissionsOf('replica', 'shop', { id: 'b' });
const REPLICAS: Users = {
  a: permissionsOf('creator', 'shop', { id: 'a' }),
  // It may answer each message once, and publish to nobody's inbox otherwise.
  b: {
    ...replicaB,
    publish: replicaB.publish.filter((subject) => subject !== '_INBOX.>'),
    allow_responses: true,
  },
};
const CLIENT: Users = { client: permissionsOf('client', 'shop') };
const READER: Users = { reader: permissionsOf('client-reader', 'shop', { inboxPrefix: '_INBOX_reader' }) };
/**
 * By what a server is told. In one account, replicas must be permitted to publish to the inbox of
 * the reader.
 */
const ACCESS: Readonly<Record<string, string>> = {
  'in one account': `authorization { users: ${usersText({ ...REPLICAS, ...CLIENT, ...READER }).replaceAll('"_INBOX.>"', '"_INBOX.>", "_INBOX_reader.>"')} }`,
  'in accounts of their own': accountsText('shop', REPLICAS, [
    { role: 'client', users: CLIENT },
    { role: 'client-reader', users: READER },
  ]),
};
/** Some tenths of a second. */
const SLOW =
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT count(*) AS n FROM n';
const INSERT = [{ sql: "INSERT INTO t VALUES (?, 'x')", params: ['1'] }];

describe.each(Object.entries(ACCESS))('%s', (_, access) => {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-client-permissions-'));
  const replicas: Replica<unknown>[] = [];
  let server: GuardedServer;

  beforeAll(async () => {
    server = await GuardedServer.start(access);
    const database = new DatabaseSync(join(dir, 'a.db'));
    database.exec('CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT)');
    database.close();
    for (const id of ['a', 'b']) replicas.push(await replica(id));
  });
  afterAll(async () => {
    for (const one of replicas) await one.close();
    await server[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  function replica(id: string): Promise<Replica<unknown>> {
    return createReplica({
      ...{ cluster: 'shop', id, servers: server.url(), user: id, password: 'p' },
      store: sqlite({ file: join(dir, `${id}.db`) }),
      topology: { mode: 'primary-replica', primary: 'a' },
      failover: { mode: 'manual' },
    });
  }

  function connectAs(user: string, others: object = {}): Promise<Client> {
    return connect({ cluster: 'shop', servers: server.url(), user, password: 'p', ...others });
  }

  /** The server writes down what it denies. */
  const denials = (): readonly string[] =>
    server.log.split('\n').filter((line) => line.includes('Violation'));

  it('an application writes, reads in a session and follows changes with the permissions of a client', async () => {
    await using client = await connectAs('client');
    const session = client.session();
    await session.execute(INSERT);
    expect(await session.query('SELECT id FROM t')).toEqual([{ id: '1' }]);
    const ending = new AbortController();
    for await (const change of client.changes({ from: 'beginning', signal: ending.signal })) {
      expect(change.table).toBe('t');
      break;
    }
    expect(await client.status()).toHaveLength(2);
    expect(denials()).toEqual([]);
  });

  it('reads that come together are answered where replicas may answer each message once', async () => {
    await using client = await connectAs('client');
    const quick = (n: number): Promise<unknown> => client.read('SELECT ? AS n', [n], { integers: 'number' });
    for (let round = 0; round < 3; round++) {
      const slow = client.read(SLOW, [], { integers: 'number' });
      const answers = await Promise.all([...Array.from({ length: 20 }, (_, n) => quick(n)), slow]);
      expect(answers).toMatchObject([
        ...Array.from({ length: 20 }, (_, n) => ({ rows: [{ n }], replica: 'b' })),
        { rows: [{ n: 1_000_000 }], replica: 'b' },
      ]);
    }
    expect(denials()).toEqual([]);
  });

  it('one with those of a client-reader reads, and does not write', async () => {
    await using reader = await connectAs('reader', { inboxPrefix: '_INBOX_reader' });
    expect(await reader.query('SELECT count(*) AS n FROM t', [], { integers: 'number' })).toHaveLength(1);
    expect(denials()).toEqual([]);
    await expect(reader.execute(INSERT, { timeoutMs: 3000 })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    });
    expect(denials()).not.toEqual([]);
  });
});
