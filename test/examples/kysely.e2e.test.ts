import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TestCluster } from '@antiphon/test-cluster';
import { Kysely } from 'kysely';
import { expect, it } from 'vitest';
import { replicaDialect } from '../../examples/kysely/src/replica-dialect.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('examples/kysely: prints what its page shows', async () => {
  const args = ['--disable-warning=ExperimentalWarning', 'examples/kysely/src/start.ts'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const page = readFileSync(join(root, 'examples', 'kysely', 'README.md'), 'utf8');
  expect(stderr).toBe('');
  expect(stdout).toBe(/```text\n([^]*?)```/.exec(page)?.[1]);
});

it('examples/kysely: refuses what a replica cannot do, and writes nothing of it', async () => {
  const schema = 'CREATE TABLE orders (id TEXT PRIMARY KEY)';
  const cluster = await TestCluster.start({ schema, broker: 'memory', replicas: ['eu-1'] });
  try {
    const dialect = replicaDialect(cluster.replica('eu-1'));
    const db = new Kysely<{ orders: { id: string } }>({ dialect });
    const insert = db.insertInto('orders').values({ id: 'o-1' });
    await expect(db.transaction().execute((trx) => trx.deleteFrom('orders').execute())).rejects.toThrow(
      /writeTogether/,
    );
    expect(await db.selectFrom('orders').selectAll().execute()).toEqual([]);
    expect(await insert.returning('id').execute()).toEqual([{ id: 'o-1' }]);
    expect(await db.selectFrom('orders').selectAll().execute()).toEqual([{ id: 'o-1' }]);
  } finally {
    await cluster.close();
  }
});
