import { TestCluster } from '@antiphon/test-cluster';
import { describe, expect, it } from 'vitest';
import { NotCovered, SCHEMA, transfer } from '../../examples/bank/src/bank.ts';
import { runExample, shownBy, withoutFigures } from './run-example.js';

const ROUNDS = 10;

describe('examples/bank', () => {
  it('keeps the total, and the rule, while one of three primaries is killed', async () => {
    expect(withoutFigures(await runExample('bank'))).toBe(withoutFigures(shownBy('bank')));
  });

  it('lets one of two take what covers one, wherever and from whichever account', async () => {
    const options = {
      topology: { mode: 'multi-primary' },
      update: { mode: 'sync', acks: 'logged' },
    } as const;
    const customers = Array.from({ length: ROUNDS }, (_, n) => n);
    const rows = customers.map((n) => `('${n}-a', '${n}', 50), ('${n}-b', '${n}', 50)`).join(', ');
    const schema = `${SCHEMA} INSERT INTO accounts VALUES ('bank', 'bank', 0), ${rows};`;
    await using cluster = await TestCluster.start({ schema, replicas: ['eu-1', 'eu-2'], options });
    for (const n of customers) {
      // Each is covered by both accounts together, and both are not.
      const both = await Promise.allSettled([
        transfer(cluster.replica('eu-1'), { source: `${n}-a`, target: 'bank', amount: 80 }),
        transfer(cluster.replica('eu-2'), { source: `${n}-b`, target: 'bank', amount: 80 }),
      ]);
      const refused = both.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
      expect(refused).toEqual([expect.any(NotCovered)]);
    }
  });
});
