import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import { AntiphonError, createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { SCHEMA, Shop } from './shop.ts';

const folder = mkdtempSync(join(tmpdir(), 'antiphon-kysely-'));
try {
  await using nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });
  const database = new DatabaseSync(join(folder, 'eu-1.db'));
  database.exec(SCHEMA);
  database.close();
  const replica = (id: string) =>
    createReplica({
      ...{ cluster: 'shop', id, servers: nats.url },
      store: sqlite({ file: join(folder, `${id}.db`) }),
    });
  await using primary = await replica('eu-1');
  await using follower = await replica('eu-2');

  const shop = new Shop(primary);
  await shop.order('c-1', 'lamp', 2);
  await shop.order('c-2', 'lamp', 3);
  console.log('renamed:', await shop.rename('c-2', 'Grace Hopper'));
  await shop.order('c-1', 'lamp', 6).catch((error: unknown) => {
    if (!(error instanceof AntiphonError)) throw error;
    console.log('refused:', error.message);
  });

  await follower.caughtUp();
  const copy = new Shop(follower);
  console.log('sold, says the other replica:', await copy.sales());
  console.log('left:', await copy.inStock('lamp'));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
