import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica, type Replica } from '@antiphon/replica';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { antiphon, antiphonJson, PATIENCE_MS, temporaryFolder } from './antiphon.js';

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const replicas: Replica<SqliteTransaction>[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  const db = new DatabaseSync(join(folder.path, 'eu-1.db'));
  db.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
  db.close();
  for (const id of ['eu-1', 'eu-2', 'eu-3']) {
    const store = sqlite({ file: join(folder.path, `${id}.db`) });
    replicas.push(await createReplica({ cluster: 'shop', id, servers: server.url, store }));
  }
});
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.close()));
  await server.stop();
  folder.remove();
});

interface Explained {
  readonly replica: string | null;
  readonly replicas: readonly { readonly id: string }[];
}

it('shows who would be asked, and why not the others', { timeout: 2 * PATIENCE_MS }, async () => {
  const where = { cwd: folder.path };
  const command = ['explain-read', '--servers', server.url, '--cluster', 'shop'];
  const explained = await antiphonJson<Explained>(command, where);
  expect(explained).toMatchObject({ policy: 'least-outstanding', passedOver: [{ id: 'eu-1' }] });
  expect(explained.replicas.map(({ id }) => id)).toEqual(['eu-2', 'eu-3']);
  expect(['eu-2', 'eu-3']).toContain(explained.replica);
  expect(await antiphonJson<Explained>([...command, '--consistency', 'strong'], where)).toMatchObject({
    replica: 'eu-1',
    passedOver: [
      { id: 'eu-2', reason: 'not-primary' },
      { id: 'eu-3', reason: 'not-primary' },
    ],
  });
  replicas[1]?.reads.drain();
  const { code, stdout } = await antiphon([...command, '--policy', 'nearest'], where);
  expect(stdout).toBe(
    'cluster shop: eu-3 is asked: nearest among eu-3.\n\n' +
      'may be asked  weight  zone    lag\neu-3               1  -     0.0 s\n\n' +
      'eu-2: eu-2 is drained. `antiphon resume eu-2` ends that.\n' +
      'eu-1: Replicas are preferred to the primary.\n',
  );
  expect(code).toBe(0);
  for (const replica of replicas) replica.reads.drain();
  const nobody = await antiphon(command, where);
  expect(nobody.stdout).toContain('cluster shop: Nobody can serve it.\n');
  expect(nobody.code).toBe(1);
  expect(await antiphon([...command, '--policy', 'nearst'], where)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('nearest') as string,
  });
});
