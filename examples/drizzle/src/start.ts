import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { connect } from '@antiphon/client';
import { NatsServer } from '@antiphon/nats-server';
import { AntiphonError, createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eq } from 'drizzle-orm';
import { migrate } from './migrate.ts';
import { clientDatabase } from './replica-database.ts';
import * as schema from './schema.ts';
import { metWishes, salesOf, Shop } from './shop.ts';
import { fileDatabase } from './sync-database.ts';

const folder = mkdtempSync(join(tmpdir(), 'antiphon-drizzle-'));
const fileOf = (id: string): string => join(folder, `${id}.db`);
try {
  await using nats = await NatsServer.start({ storeDir: join(folder, 'nats'), obtain: true });

  // The file of the replica that creates the cluster. The others get tables and rows from there.
  const database = new DatabaseSync(fileOf('eu-1'), { timeout: 5000 });
  const file = fileDatabase(database);
  migrate(file);
  file.insert(schema.customers).values([{ id: 'c-1', name: 'Ada' }, { id: 'c-2', name: 'Grace' }]).run(); // prettier-ignore
  file.insert(schema.stock).values({ item: 'lamp', pieces: 10 }).run();

  const replica = (id: string) =>
    createReplica({ cluster: 'shop', id, servers: nats.url, store: sqlite({ file: fileOf(id) }) });
  await using primary = await replica('eu-1');
  await using follower = await replica('eu-2');
  for (const { name, reason } of primary.status().leftOut) console.log(`left out: ${name}: ${reason}`);

  const shop = new Shop(primary);
  await shop.order('c-1', 'lamp', 2);
  await shop.wish('c-2', 'lamp');
  console.log('renamed:', await shop.rename('c-2', 'Grace Hopper'), await shop.rename('c-9', 'Nobody'));
  await shop.order('c-1', 'lamp', 9).catch((error: unknown) => {
    const { cause } = error as Error;
    const reason = cause instanceof AntiphonError ? cause : error;
    if (!(reason instanceof AntiphonError)) throw error;
    console.log('refused:', reason.code);
  });
  // Another program on the file of the primary: its transactions are captured, too.
  file.transaction((tx) => {
    const lamp = tx.select().from(schema.stock).where(eq(schema.stock.item, 'lamp')).get();
    tx.update(schema.stock)
      .set({ pieces: (lamp?.pieces ?? 0) - 4 })
      .run();
  });
  database.close();
  console.log('of 9 lamps, ordered:', await shop.orderAtMost('c-2', 'lamp', 9));

  await follower.caughtUp();
  console.log('sold, says the other replica:', await new Shop(follower).sales());
  await using client = await connect({ cluster: 'shop', servers: nats.url });
  const db = clientDatabase(client, schema, { consistency: 'strong' });
  await db.update(schema.stock).set({ pieces: 1 });
  console.log('wishes that can be met, says a client:', await metWishes(db));
  console.log('sold, says a client:', (await salesOf(db)).length, 'customers');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
