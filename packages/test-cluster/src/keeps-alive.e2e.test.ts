import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
/** No test runner, no server: nothing but the cluster keeps the process. */
const SCRIPT = `
  import { TestCluster } from '@antiphon/test-cluster';
  const schema = 'CREATE TABLE orders (id INTEGER PRIMARY KEY)';
  const cluster = await TestCluster.start({ schema, replicas: 2, broker: 'memory' });
  await cluster.broker.stop();
  await cluster.replica('r1').execute([{ sql: 'INSERT INTO orders VALUES (1)' }]);
  const { code } = await cluster.caughtUp({ timeoutMs: 500 }).catch((error) => error);
  await cluster.broker.start();
  await cluster.caughtUp();
  await cluster.close();
  console.log(code, 'closed');
`;

it('a plain script does not end amid an await while its cluster is open, and ends when it is closed', () => {
  const args = ['--input-type=module', '--eval', SCRIPT];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    ...{ cwd: PACKAGE, encoding: 'utf8', timeout: 60_000 },
  });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'TIMEOUT closed\n', stderr: '' });
});
