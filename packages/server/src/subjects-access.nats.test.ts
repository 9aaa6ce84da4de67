import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { permissionsOf, type Permissions } from '@antiphon/nats';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GuardedServer } from '../../nats/src/testing/guarded-server.js';
import { serveSubjects } from './index.js';
import { SubjectClient } from './testing/subject-client.js';

const [READ, WRITE] = ['antiphon.shop.read', 'antiphon.shop.write'];
const INSERT = { statements: [{ sql: "INSERT INTO t VALUES ('a')" }] };
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-subjects-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function authorization(subjects: boolean): string {
  const inbox = { subscribe: ['_INBOX.>'] };
  const users: Readonly<Record<string, Permissions>> = {
    a: permissionsOf('creator', 'shop', { id: 'a', subjects }),
    // All that the subjects alone need.
    writer: { publish: [READ, WRITE], ...inbox },
    reader: permissionsOf('client-reader', 'shop'),
  };
  const list = Object.entries(users).map(
    ([user, permissions]) => `{ user: ${user}, password: p, permissions: ${JSON.stringify(permissions)} }`,
  );
  return `authorization { users: [${list.join(', ')}] }`;
}

it('a replica that may not listen says so until it may, and clients may do what their role says', async () => {
  const database = new DatabaseSync(join(dir, 'a.db'));
  database.exec('CREATE TABLE t (id TEXT PRIMARY KEY)');
  database.close();
  await using server = await GuardedServer.start(authorization(false));
  const warnings: string[] = [];
  const silent = (): void => undefined;
  await using replica = await createReplica({
    ...{ cluster: 'shop', id: 'a', servers: server.url(), user: 'a', password: 'p' },
    store: sqlite({ file: join(dir, 'a.db') }),
    logger: { debug: silent, info: silent, warn: (_, text) => warnings.push(text), error: silent },
  });
  await using _subjects = serveSubjects(replica);
  const denied = (): readonly string[] =>
    replica
      .status()
      .alarms.map(({ name }) => name)
      .filter((name) => name.startsWith('denied'));
  const WANTED = [READ, WRITE, '$SRV.*', '$SRV.*.antiphon-shop', '$SRV.*.antiphon-shop.a'];
  await eventually('it says what it lacks', () => denied().length === WANTED.length, 20_000);
  expect([...denied()].sort()).toEqual(WANTED.map((subject) => `denied subscribe ${subject}`).sort());
  expect(warnings.filter((text) => text.includes(`subscribe to "${READ}"`))).toHaveLength(1);

  await server.reload(authorization(true));
  await eventually('it may', () => denied().length === 0, 20_000);
  await using writer = await SubjectClient.connect(server.url(), { user: 'writer', pass: 'p' });
  expect((await writer.json(WRITE, INSERT)).body).toMatchObject({ changes: [1] });
  await using reader = await SubjectClient.connect(server.url(), { user: 'reader', pass: 'p' });
  expect((await reader.json(READ, { sql: 'SELECT id FROM t' })).body['rows']).toEqual([{ id: 'a' }]);
  await expect(reader.json(WRITE, INSERT)).rejects.toMatchObject({ code: 'PERMISSIONS_VIOLATION' });
});
