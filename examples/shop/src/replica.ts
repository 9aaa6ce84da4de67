/** One replica: a SQLite file that this process keeps in step with those of the others. */
import { DatabaseSync } from 'node:sqlite';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { atEnd, CLUSTER, SCHEMA, setting } from './settings.ts';

const id = setting('ID');
const file = setting('FILE');

const database = new DatabaseSync(file);
// The first replica brings the tables and what is in them; the others get both from it.
if (setting('PRIMARY') === id) database.exec(SCHEMA);
database.close();

const replica = await createReplica({
  cluster: CLUSTER,
  id,
  servers: setting('NATS_URL'),
  store: sqlite({ file }),
  topology: { mode: 'primary-replica', primary: setting('PRIMARY') },
  failover: { mode: 'automatic' },
  publish: { subject: 'shop.{table}.{op}' },
});
atEnd(() => replica.close());
process.send?.({ ready: true });
