import antiphon = require('antiphon');
import testing = require('antiphon/testing');

async function main(): Promise<void> {
  const cluster = await testing.TestCluster.start({
    schema: 'CREATE TABLE orders (id TEXT PRIMARY KEY)',
    broker: 'memory',
    replicas: ['eu-1', 'eu-2'],
  });
  const id = antiphon.newId();
  await cluster.replica('eu-1').execute([{ sql: 'INSERT INTO orders VALUES (?)', params: [id] }]);
  await cluster.caughtUp();
  console.log(
    (await cluster.replica('eu-2').query('SELECT id FROM orders'))[0]?.['id'] === id ? 'ok' : 'lost',
  );
  await cluster.close();
}

void main();
