import { decodeBatches, type RecaptureReport } from '@antiphon/core';
import { expect } from 'vitest';
import type { Cluster } from './cluster.js';
import { installOptions, newClock, pacing } from './pair.js';

/**
 * What the replica does: a database that the log, as far as it was applied here, and what is sealed
 * here were applied to.
 */
export async function recaptureIn(
  cluster: Cluster,
  name: string,
  table: string,
  dryRun = false,
  deleteRows = false,
): Promise<RecaptureReport> {
  const { store } = cluster.member(name);
  const { position, vector, lastCounter } = store.state();
  const reference = await store.recapturing!.open();
  try {
    await reference.install(
      installOptions(cluster, '_reference', {
        writes: 'refuse',
        createTables: true,
        rowVersions: cluster.shell(name, 'SELECT row_versions FROM _antiphon_state') === '1',
      }),
      newClock(),
    );
    const apply = async (data: Uint8Array, seq: number): Promise<void> => {
      for (const batch of decodeBatches(data)) {
        const known = reference.state().vector[batch.origin] ?? 0;
        const count = batch.kind === 'part' ? 1 : batch.transactions.length;
        const skip = Math.max(0, known + 1 - batch.firstCounter);
        if (skip >= count) continue;
        const step =
          batch.kind === 'part'
            ? ({ type: 'part', batch, seq } as const)
            : ({ type: 'transactions', batch, skip, seq } as const);
        const position = { generation: 'g1', seq };
        const { refused } = await reference.apply({ steps: [step], position, ...pacing });
        if (refused !== undefined) throw refused.error;
      }
    };
    for (let seq = 1; seq <= position.seq; seq++) await apply(cluster.log[seq - 1]!.data, seq);
    for (const { data } of await store.sealed({ counter: 0, part: 0 }, 1e9)) await apply(data, position.seq);
    expect(reference.state().vector).toEqual(vector);
    return await store.recapturing!.compare(table, { dryRun, deleteRows, vector, lastCounter });
  } finally {
    await store.recapturing!.end();
  }
}
