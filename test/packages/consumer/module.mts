import { strict as assert } from 'node:assert';
import { DatabaseSync } from 'node:sqlite';
import { createReplica, newId, sqlite, type Replica, type SqliteTransaction } from 'antiphon';
import { connect } from 'antiphon/client';
import { antiphonPlugin } from 'antiphon/fastify';
import { NatsServer } from 'antiphon/nats-server';
import { createServer } from 'antiphon/server';
import { TestCluster } from 'antiphon/testing';

interface Order extends Record<string, unknown> {
  readonly id: string;
  readonly sku: string;
}

async function place(replica: Replica<SqliteTransaction>, order: Order): Promise<void> {
  const done = await replica.transaction((tx) => {
    tx.run('INSERT INTO orders (id, sku) VALUES (?, ?)', [order.id, order.sku]);
  });
  assert.equal(done.outcome, 'committed');
}

// A service with a replica inside, and one that asks it.
const nats = await NatsServer.start({ storeDir: 'nats' });
const database = new DatabaseSync('eu-1.db');
database.exec('CREATE TABLE orders (id TEXT PRIMARY KEY, sku TEXT NOT NULL)');
database.close();
const address = { cluster: 'shop', servers: nats.url };
const replica = await createReplica({ ...address, id: 'eu-1', store: sqlite({ file: 'eu-1.db' }) });
await place(replica, { id: newId(), sku: 'A-7' });
const server = await createServer(replica, { listen: '127.0.0.1:0' });
const client = await connect(address);
const rows = await client.query('SELECT sku FROM orders', [], { consistency: 'strong' });
assert.deepEqual(rows, [{ sku: 'A-7' }]);
assert.equal(typeof antiphonPlugin, 'function');
await client.close();
await server.close();
await replica.close();
await nats.stop();

// Its tests.
const cluster = await TestCluster.start({
  schema: 'CREATE TABLE orders (id TEXT PRIMARY KEY, sku TEXT NOT NULL)',
  broker: 'memory',
});
await cluster.caughtUp();
await cluster.assertEqual();
await cluster.close();
console.log('ok');
