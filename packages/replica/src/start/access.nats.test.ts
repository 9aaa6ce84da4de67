import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { permissionsOf, type Permissions } from '@antiphon/nats';
import { sqlite } from '@antiphon/sqlite';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GuardedServer } from '../../../nats/src/testing/guarded-server.js';
import type { CreateReplicaOptions } from './create-replica.js';
import { createReplica } from './create-replica.js';
import type { SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

let dir: string;
let server: GuardedServer | undefined;
const replicas: SqliteReplica[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-permissions-'));
});
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.close()));
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  rmSync(dir, { recursive: true, force: true });
});

type Users = Readonly<Record<string, Permissions>>;

const USERS: Users = {
  'eu-1': permissionsOf('creator', 'shop', { id: 'eu-1', inboxPrefix: '_INBOX_eu-1' }),
  'eu-2': permissionsOf('replica', 'shop', { id: 'eu-2' }),
};

function authorization(users: Users): string {
  const list = Object.entries(users).map(
    ([user, permissions]) => `{ user: "${user}", password: p, permissions: ${JSON.stringify(permissions)} }`,
  );
  return `authorization { users: [${list.join(', ')}] }`;
}

function without(users: Users, user: string, subject: string): Users {
  const { publish = [], subscribe = [] } = users[user] ?? {};
  const left = (subjects: readonly string[]): string[] => subjects.filter((known) => known !== subject);
  expect(left(publish).length + left(subscribe).length).toBe(publish.length + subscribe.length - 1);
  return { ...users, [user]: { publish: left(publish), subscribe: left(subscribe) } };
}

async function start(id: string, options: Partial<CreateReplicaOptions<never>> = {}): Promise<SqliteReplica> {
  if (server === undefined) throw new Error('no server');
  const replica = await createReplica({
    cluster: 'shop',
    id,
    servers: server.url(),
    user: id,
    password: 'p',
    store: sqlite({ file: join(dir, `${id}.db`) }),
    topology: { mode: 'multi-primary' },
    ...(id === 'eu-1' ? { inboxPrefix: '_INBOX_eu-1' } : {}),
    ...options,
  });
  replicas.push(replica);
  return replica;
}

function createTables(): void {
  const db = new DatabaseSync(join(dir, 'eu-1.db'));
  db.exec("CREATE TABLE item (id TEXT PRIMARY KEY, n INTEGER); INSERT INTO item VALUES ('a', 1)");
  db.close();
}

async function holds(replica: SqliteReplica, id: string, n: number): Promise<void> {
  await eventually(`${id} has ${n}`, async () => {
    const [row] = await replica.query('SELECT n FROM item WHERE id = ?', [id]);
    return Number(row?.['n']) === n;
  });
}

describe('with exactly the permissions of its role', () => {
  it.each([
    { topology: { mode: 'multi-primary' }, update: { mode: 'async' } },
    { topology: { mode: 'multi-primary' }, update: { mode: 'sync' } },
    { topology: { mode: 'primary-replica', primary: 'eu-1' }, update: { mode: 'async' } },
    { topology: { mode: 'primary-replica', primary: 'eu-1' }, update: { mode: 'sync' } },
  ] as const)('a cluster runs: %j', async (settings) => {
    server = await GuardedServer.start(authorization(USERS));
    createTables();
    const first = await start('eu-1', settings);
    const second = await start('eu-2', settings);
    const done = await first.execute([{ sql: 'UPDATE item SET n = 2 WHERE id = ?', params: ['a'] }]);
    await holds(second, 'a', 2);
    if (settings.update.mode === 'sync') {
      expect(done.acks?.by).toEqual(['eu-1', 'eu-2']);
      await second.query('SELECT 1', [], { consistency: 'session', after: done.position });
      expect(await first.query('SELECT n FROM item', [], { consistency: 'strong' })).toHaveLength(1);
    }
    if (settings.topology.mode === 'multi-primary') {
      await second.execute([{ sql: 'UPDATE item SET n = 3 WHERE id = ?', params: ['a'] }]);
      await holds(first, 'a', 3);
    }
    for await (const change of first.changes({ from: 'beginning' })) {
      expect(change.table).toBe('item');
      break;
    }
    for await (const change of second.subscribe('service', { from: 'beginning' })) {
      expect(change.table).toBe('item');
      break;
    }
    // Beats, pruning and the registry as well.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    for (const replica of [first, second]) expect(replica.status().alarms).toEqual([]);
    // A second start has more to read: its own transactions, its consumer.
    await second.close();
    const again = await start('eu-2', settings);
    await holds(again, 'a', settings.topology.mode === 'multi-primary' ? 3 : 2);
    expect(again.status().alarms).toEqual([]);
    await again.close();
    await first.removeMember('eu-2');
    expect(first.status().alarms.filter(({ name }) => name.startsWith('denied'))).toEqual([]);
  });
});

it('a replica publishes changes with the permissions for that', async () => {
  const publish = { subject: 'shop.{table}.{op}' };
  const options = { id: 'eu-1', inboxPrefix: '_INBOX_eu-1', publish };
  server = await GuardedServer.start(authorization({ 'eu-1': permissionsOf('creator', 'shop', options) }));
  createTables();
  const replica = await start('eu-1', { publish });
  await eventually('it has published', () => replica.status().publishing?.publishedSeq === 1, 20_000);
  // The copy of the place as well.
  await new Promise((resolve) => setTimeout(resolve, 6000));
  expect(replica.status().alarms).toEqual([]);
});

describe('without one of them', () => {
  it.each([
    'antiphon.shop.beat.*',
    'antiphon.shop.replica.eu-2.*',
    '_INBOX.>',
    '$JS.API.STREAM.INFO.KV_ANTIPHON_shop',
    '$JS.API.STREAM.MSG.GET.ANTIPHON_shop',
    '$JS.API.CONSUMER.MSG.NEXT.ANTIPHON_shop.*',
    '$KV.ANTIPHON_shop.member.*',
    'antiphon.shop.beat.eu-2',
    'antiphon.shop.log.eu-2',
  ])('a replica does not start, and names %s', async (subject) => {
    // `_INBOX.>` stands in both lists: here it is what the replica hears with.
    const users =
      subject === '_INBOX.>'
        ? { ...USERS, 'eu-2': { ...USERS['eu-2']!, subscribe: ['antiphon.>'] } }
        : without(USERS, 'eu-2', subject);
    server = await GuardedServer.start(authorization(users));
    createTables();
    await start('eu-1');
    const startMs = performance.now();
    const starting = start('eu-2');
    const error = await starting.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AntiphonError);
    const { code, retriable, message } = error as AntiphonError;
    expect({ code, retriable }).toEqual({ code: 'ACCESS_DENIED', retriable: false });
    expect(message).toContain(subject.replace(/(ANTIPHON_shop|replica\.eu-2|member)\.\*$/, '$1.'));
    expect(performance.now() - startMs).toBeLessThan(8000);
  });

  it('a running replica says so once, for as long as it lasts, and goes on when it is granted again', async () => {
    server = await GuardedServer.start(authorization(USERS));
    createTables();
    const logged: string[] = [];
    const write = (_: unknown, message: string): void => void logged.push(message);
    const logger = { debug: () => undefined, info: write, warn: write, error: write };
    const first = await start('eu-1');
    const second = await start('eu-2', { logger });
    const lost = ['$JS.API.STREAM.INFO.ANTIPHON_shop', 'antiphon.shop.beat.eu-2', 'antiphon.shop.log.eu-2'];
    const fewer = lost.reduce((users, subject) => without(users, 'eu-2', subject), USERS);
    await server.reload(authorization(fewer));
    await second.execute([{ sql: "INSERT INTO item VALUES ('b', 7)" }]);
    const denials = (): readonly string[] =>
      second.status().alarms.flatMap(({ name }) => (name.startsWith('denied ') ? [name] : []));
    await eventually('the denials to be alarms', () => denials().length === lost.length);
    // Several beats and looks at the log.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    expect([...denials()].sort()).toEqual(lost.map((subject) => `denied publish ${subject}`).sort());
    expect(second.status().lifecycle).not.toBe('failed');
    const told = logged.filter((message) => message.includes('does not permit'));
    for (const subject of lost) expect(told.filter((text) => text.includes(`"${subject}"`))).toHaveLength(1);

    await server.reload(authorization(USERS));
    await holds(first, 'b', 7);
    await eventually('the alarms to end', () => second.status().alarms.length === 0);
    for (const subject of lost) expect(logged).toContain(`NATS permits it again: publish ${subject}.`);
  }, 60_000);
});
