/**
 * Three primaries with a teller each, who transfer money at the same time. One is killed, and comes
 * back. In the end all three have the same rows, the total is what it was, and no customer owes.
 */
import { AntiphonError } from '@antiphon/replica';
import { TestCluster } from '@antiphon/test-cluster';
import { isRefusal, SCHEMA, transfer } from './bank.ts';

const IDS = ['eu-1', 'eu-2', 'eu-3'];
const CUSTOMERS = 4;
const ACCOUNTS = Array.from({ length: CUSTOMERS }, (_, n) => [`c${n}-checking`, `c${n}-savings`]).flat();
const BALANCE = 100;
const TRANSFERS = 60;
/**
 * Of a replica that is killed. Whether the transfer that it had under way was made,
 * `replica.outcome(error.id)` tells when it is back: the total is the same either way.
 */
const GONE = new Set(['CLOSED', 'OUTCOME_UNKNOWN']);

const rows = ACCOUNTS.map((id) => `('${id}', '${id.split('-')[0] ?? ''}', ${BALANCE})`);
const cluster = await TestCluster.start({
  schema: `${SCHEMA} INSERT INTO accounts VALUES ${rows.join(', ')};`,
  replicas: IDS,
  options: {
    topology: { mode: 'multi-primary' },
    update: { mode: 'sync', acks: 'majority', minInSync: 2 },
  },
});

const random = (below: number): number => Math.floor(Math.random() * below);

/** How many transfers were made and refused, until it has done its work or its replica is gone. */
async function teller(id: string): Promise<{ made: number; refused: number }> {
  const replica = cluster.replica(id);
  const count = { made: 0, refused: 0 };
  while (count.made + count.refused < TRANSFERS) {
    const source = ACCOUNTS[random(ACCOUNTS.length)] ?? '';
    const target = ACCOUNTS.filter((account) => account !== source)[random(ACCOUNTS.length - 1)] ?? '';
    try {
      await transfer(replica, { source, target, amount: 1 + random(2 * BALANCE) });
      count.made++;
    } catch (error) {
      if (error instanceof AntiphonError && GONE.has(error.code)) return count;
      if (!isRefusal(error)) throw error;
      count.refused++;
    }
    if (id === 'eu-1' && count.made + count.refused === TRANSFERS / 3) {
      await cluster.killReplica('eu-3');
      console.log('eu-3 is killed.');
    }
  }
  return count;
}

try {
  const counts = await Promise.all(IDS.map(teller));
  IDS.forEach((id, n) => console.log(`${id}: ${counts[n]?.made} made, ${counts[n]?.refused} refused`));
  await cluster.startReplica('eu-3');
  await cluster.caughtUp({ timeoutMs: 60_000 });
  await cluster.assertEqual();
  const options = { integers: 'number' } as const;
  const sums = await cluster
    .replica('eu-3')
    .query<{ balance: number }>(
      'SELECT sum(balance) AS balance FROM accounts GROUP BY customer',
      [],
      options,
    );
  const total = sums.reduce((sum, { balance }) => sum + balance, 0);
  console.log(`eu-3 is back. All three have the same rows. The total is ${total}.`);
  if (total !== ACCOUNTS.length * BALANCE) throw new Error('Money was made or lost.');
  if (sums.some(({ balance }) => balance < 0)) throw new Error('A customer owes.');
  console.log('No customer owes.');
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cluster.close();
}
