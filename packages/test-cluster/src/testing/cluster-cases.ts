import { existsSync } from 'node:fs';
import { newId } from '@antiphon/replica';
import { openDatabase } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import type { BrokerKind } from '../broker.js';
import { TestCluster, type TestClusterOptions } from '../test-cluster.js';

const schema = 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO orders VALUES (1, 0)';
const insert = (id: number): { sql: string; params: number[] } => ({
  sql: 'INSERT INTO orders VALUES (?, 0)',
  params: [id],
});

/** What a test cluster promises, whatever carries its log. */
export function clusterCases(broker: BrokerKind): void {
  const start = (options: Partial<TestClusterOptions> = {}): Promise<TestCluster> =>
    TestCluster.start({ schema, broker, options: { topology: { mode: 'multi-primary' } }, ...options });
  const ids = async (cluster: TestCluster, id: string): Promise<readonly unknown[]> =>
    (await cluster.replica(id).query('SELECT id FROM orders ORDER BY id')).map((row) => Number(row['id']));

  describe(`a test cluster (${broker})`, () => {
    it('has the rows of its schema on every replica, and those that are written later', async () => {
      await using cluster = await start();
      for (const id of ['r1', 'r2', 'r3']) expect(await ids(cluster, id)).toEqual([1]);
      await cluster.replica('r2').execute([insert(2)]);
      await cluster.caughtUp();
      for (const id of ['r1', 'r2', 'r3']) expect(await ids(cluster, id)).toEqual([1, 2]);
      await cluster.assertEqual();
    });

    it('waits for what another program writes to a file', async () => {
      await using cluster = await start({ replicas: ['eu-1', 'eu-2'] });
      const database = openDatabase(cluster.file('eu-2'), { busyTimeoutMs: 0 });
      database.exec('INSERT INTO orders VALUES (3, 0)');
      database.close();
      await cluster.caughtUp();
      expect(await ids(cluster, 'eu-1')).toEqual([1, 3]);
    });

    it('keeps what a killed replica had committed, and catches up what it missed', async () => {
      await using cluster = await start({ replicas: 2 });
      await cluster.broker.stop();
      await cluster.replica('r2').execute([insert(2)]);
      await cluster.killReplica('r2');
      expect(() => cluster.replica('r2')).toThrow('does not run');
      await cluster.broker.start();
      await cluster.replica('r1').execute([insert(3)]);
      await cluster.caughtUp();
      expect(await ids(cluster, 'r1')).toEqual([1, 3]);
      await cluster.startReplica('r2');
      await cluster.caughtUp();
      expect(await ids(cluster, 'r1')).toEqual([1, 2, 3]);
      await cluster.assertEqual();
    });

    it('elects another primary, and writes once on whichever replica is asked', async () => {
      await using cluster = await start({
        options: {
          topology: { mode: 'primary-replica', primary: 'r1' },
          update: { mode: 'sync' },
          failover: {
            mode: 'automatic',
            leaseMs: 1000,
            renewMs: 200,
            marginMs: 200,
            probeMs: 50,
            goneMs: 300,
          },
        },
      });
      const request = { requestId: newId() };
      const written = await cluster.replica('r2').execute([insert(7)], request);
      expect(written).toMatchObject({ outcome: 'committed', value: [1] });
      await cluster.killReplica('r1');
      const again = await cluster.replica('r3').execute([insert(7)], request);
      expect(again).toMatchObject({ value: [1], repeated: true });
      expect(cluster.replicas.filter((replica) => replica.status().role === 'primary')).toHaveLength(1);
      await cluster.startReplica('r1');
      await cluster.caughtUp();
      expect(cluster.replica('r1').status().role).not.toBe('primary');
      await cluster.assertEqual();
    });

    it('takes a new member, and brings one back that was stopped', async () => {
      await using cluster = await start({ replicas: 2 });
      await cluster.stopReplica('r1');
      await cluster.startReplica('r4');
      await cluster.replica('r4').execute([insert(4)]);
      await cluster.restartReplica('r2');
      await cluster.startReplica('r1');
      await cluster.caughtUp();
      expect(cluster.replicas.map(({ id }) => id)).toEqual(['r1', 'r2', 'r4']);
      await cluster.assertEqual();
    });

    it('names the rows in which replicas differ', async () => {
      await using cluster = await start({ replicas: 2 });
      await cluster.stopReplica('r2');
      const database = openDatabase(cluster.file('r2'));
      // As a defect would: while the row in this table is there, triggers capture nothing.
      database.exec('UPDATE _antiphon_state SET applying = 1; UPDATE orders SET state = 9');
      database.exec('UPDATE _antiphon_state SET applying = 0');
      database.close();
      await cluster.startReplica('r2');
      await expect(cluster.assertEqual()).rejects.toThrow('orders on r1 and r2: rows 1');
    });

    it('leaves nothing behind', async () => {
      const cluster = await start({ replicas: 1 });
      await cluster[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
      expect(existsSync(cluster.folder)).toBe(false);
    });

    it.each<[string, Partial<TestClusterOptions>, RegExp]>([
      [
        'UNSUPPORTED_TABLE',
        { schema: 'CREATE TABLE x (a)' },
        /TestCluster\.start\(\) makes no table that .* \(x, .*primary key/,
      ],
      ['BAD_OPTION', { schema: '' }, /TestCluster\.start\(\) makes no table, .*Give it a table/],
      [
        'BAD_OPTION',
        { options: { topology: { mode: 'primary-replica', primary: 'r2' } } },
        /TestCluster\.start\(\).*Name r2 first/,
      ],
      ['BAD_OPTION', { replicas: ['a b'] }, /a b/],
      ['BAD_OPTION', { options: { localTriggers: 1 as never } }, /TestCluster\.start\(\) is 1\. Give/],
    ])(
      'tells its caller at once, with %s, what no cluster can start with: %j',
      async (code, options, message) => {
        await expect(start(options)).rejects.toMatchObject({
          code,
          message: expect.stringMatching(message) as string,
        });
      },
    );

    it('ends what it had started when the schema does not run', async () => {
      await expect(start({ schema: 'CREATE TABLE' })).rejects.toThrow('incomplete input');
    });
  });
}
