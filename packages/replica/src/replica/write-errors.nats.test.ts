import { DatabaseSync } from 'node:sqlite';
import { AntiphonError, type UpdateOptions } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

const UPDATES: readonly UpdateOptions[] = [{ mode: 'async' }, { mode: 'sync', minInSync: 1 }];
const INSERT = { sql: 'INSERT INTO t (v) VALUES (1)' };

describe.each(UPDATES)('callers that give up, %j', (update) => {
  const start = async (cluster: ClusterFixture) => {
    cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)');
    return cluster.replica('a', { update, topology: { mode: 'primary-replica', primary: 'a' } });
  };

  it('get ABORTED when their signal fired before the call, and nothing is written', async () => {
    await using cluster = await ClusterFixture.start();
    const a = await start(cluster);
    const aborted = a.execute([INSERT], { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toBeInstanceOf(AntiphonError);
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(a.execute([INSERT], { timeoutMs: NaN })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(await a.query('SELECT * FROM t')).toEqual([]);
  });

  it('get ABORTED or CLOSED while their write waits for another program, and it never runs', async () => {
    await using cluster = await ClusterFixture.start();
    const a = await start(cluster);
    const other = new DatabaseSync(cluster.file('a'));
    other.exec('BEGIN IMMEDIATE');
    const giveUp = new AbortController();
    const first = a.execute([INSERT], { timeoutMs: 60_000 }).catch((error: unknown) => error);
    const second = a
      .execute([INSERT], { timeoutMs: 60_000, signal: giveUp.signal })
      .catch((error: unknown) => error);
    setTimeout(() => giveUp.abort(), 100);
    expect(await second).toMatchObject({ name: 'AntiphonError', code: 'ABORTED' });
    const closed = a.close();
    const late = a.execute([INSERT]).catch((error: unknown) => error);
    await closed;
    expect(await first).toMatchObject({ code: 'CLOSED' });
    expect(await late).toMatchObject({ code: 'CLOSED' });
    other.exec('COMMIT');
    expect(other.prepare('SELECT count(*) AS rows FROM t').get()).toEqual({ rows: 0 });
    other.close();
  });

  it('are all answered by a close, at whatever moment it comes', { timeout: 60_000 }, async () => {
    for (const delayMs of [0, 1, 3, 10]) {
      await using cluster = await ClusterFixture.start();
      const a = await start(cluster);
      const writes = Array.from({ length: 300 }, () => a.execute([INSERT], { timeoutMs: 600_000 }));
      const settled = Promise.allSettled(writes);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await a.close();
      const results = await settled;
      const rows = new DatabaseSync(cluster.file('a'), { readOnly: true });
      const committed = results.filter(({ status }) => status === 'fulfilled').length;
      const codes = results.flatMap((result) =>
        result.status === 'rejected' ? [(result.reason as AntiphonError).code] : [],
      );
      const unknown = codes.filter((code) => code === 'OUTCOME_UNKNOWN').length;
      expect(codes.every((code) => code === 'CLOSED' || code === 'OUTCOME_UNKNOWN')).toBe(true);
      const found = Number(rows.prepare('SELECT count(*) AS found FROM t').get()?.['found']);
      expect(found).toBeGreaterThanOrEqual(committed);
      expect(found).toBeLessThanOrEqual(committed + unknown);
      rows.close();
    }
  });

  it('end a start that is under way with ABORTED', async () => {
    await using cluster = await ClusterFixture.start();
    await start(cluster);
    const waiting = cluster.replica('b', {
      update,
      topology: { mode: 'primary-replica', primary: 'a' },
      signal: AbortSignal.timeout(1),
    });
    await expect(waiting).rejects.toMatchObject({ name: 'AntiphonError', code: 'ABORTED' });
  });
});
