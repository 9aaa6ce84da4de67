import { EPOCH_ORIGIN } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { fillTo, OldStore } from '../testing/lossy-log.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

/** Members that hear no beats: whatever one knows of the others, it has asked. */
const options = {
  topology: { mode: 'primary-replica', primary: 'a' },
  failover: { mode: 'manual' },
  limits: { beatMs: 60_000 },
} as const;

async function write(replica: SqliteReplica, id: number): Promise<void> {
  await replica.execute([{ sql: 'INSERT INTO t VALUES (?)', params: [id] }]);
}

async function has(replica: SqliteReplica, id: number): Promise<void> {
  await eventually('it has it', async () => (await rowsOf(replica, 't')).includes(String(id)));
}

/** How many epochs the log has had. */
async function epochsInLog(): Promise<readonly number[]> {
  const log = (await fixture.nats()).log(fixture.cluster);
  const { lastSeq } = await log.open({ create: false });
  const entries = await Promise.all(Array.from({ length: lastSeq }, (_, index) => log.get(index + 1)));
  return entries.flatMap((entry) => (entry?.origin === EPOCH_ORIGIN ? [entry.seq] : []));
}

describe('I14: no epoch begins in a log that has lost what a member has applied', () => {
  it.each([
    ['shorter', 0],
    ['as long as before', 1],
    ['longer than before', 4],
  ])('%s, where the one that takes over had not seen it', async (_, growth) => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const a = await fixture.replica('a', options);
    const b = await fixture.replica('b', options);
    const c = await fixture.replica('c', options);
    await write(a, 1);
    await has(c, 1);
    await c.close();
    const old = await OldStore.copy(fixture);
    await write(a, 2);
    await has(b, 2);
    await a.close();
    const endSeq = b.status().position.seq;
    await old.grow((log) => fillTo(log, growth === 0 ? 0 : endSeq - 1 + growth));
    await old.putBack();
    const epochs = await epochsInLog();
    await eventually('b has noticed', () => b.status().lifecycle === 'stalled');
    const again = await fixture.replica('c', options);
    await eventually('c has read the log', () => again.status().lifecycle === 'following');
    await expect(again.takeOver({ timeoutMs: 5000 })).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect(await epochsInLog()).toEqual(epochs);
    expect(again.status().stalled?.message).toMatch(/\bb\b/);
  });
});
