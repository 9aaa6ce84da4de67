import { readFileSync, writeFileSync } from 'node:fs';
import { decodeBatches } from '@antiphon/core';
import { connectNats } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ROUNDS, sqlite3, type ChaosCluster } from './cluster.js';
import { ledgerOf, SHORT_FAILOVER, untilPrimaryIs, writeEntry } from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync, write } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Only who is told to takes over. */
const failover = { ...SHORT_FAILOVER, mode: 'manual' };
const PATIENCE_MS = 200_000;

const TRANSACTIONS = 100;
const ROWS_EACH = 1000;
/** A share of them in the ordinary run. */
const MEGABYTES = ROUNDS >= 20 ? 300 : 12;

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
}, PATIENCE_MS);

async function start(): Promise<readonly [ChaosCluster, ReplicaHandle, ReplicaHandle]> {
  cluster = await startSync({ topology, failover, update: { mode: 'async' }, proxied: true });
  return [cluster, cluster.at(0), cluster.at(1)];
}

/** How often the log has each transaction of `a`, by its number. */
async function timesInLog({ server }: ChaosCluster): Promise<ReadonlyMap<number, number>> {
  const nats = await connectNats({ servers: server.url });
  try {
    const log = nats.log('chaos');
    const { lastSeq } = await log.open({ create: false });
    const times = new Map<number, number>();
    for (let seq = 1; seq <= lastSeq; seq++) {
      const entry = await log.get(seq);
      for (const batch of entry?.origin === 'a' ? decodeBatches(entry.data) : [])
        for (const { counter } of batch.kind === 'transactions' ? batch.transactions : [])
          times.set(counter, (times.get(counter) ?? 0) + 1);
    }
    return times;
  } finally {
    await nats.close();
  }
}

/** Of the memory of its process, in bytes: what it has, or the most that it has had. */
function memoryOf({ pid }: ReplicaHandle, name: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024;
}

/** The most that it has had counts from now on. */
function forgetPeak({ pid }: ReplicaHandle): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

describe('a large tail', () => {
  it('I2 I3: is kept by its primary that restarts, and sent once', { timeout: PATIENCE_MS }, async () => {
    const [chaos, a] = await start();
    chaos.linkOf(a).silence();
    const sql = `
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS_EACH})
      INSERT INTO entries SELECT ? || '-' || i, 'x' FROM n`;
    for (let n = 0; n < TRANSACTIONS; n++)
      expect(await write(a, sql, [`tail-${n}`])).toMatchObject({ outcome: 'committed' });
    await a.kill();
    chaos.linkOf(a).cut();
    chaos.linkOf(a).heal();
    await a.start();
    await untilPrimaryIs(chaos, 'a');
    const { counter } = await writeEntry(a, 'last');
    const isThere = (): boolean =>
      chaos.read("SELECT id FROM entries WHERE id = 'last'").every((rows) => rows !== '[]');
    await eventually('the others have all', isThere, PATIENCE_MS);
    await chaos.converged();
    expect(chaos.read('SELECT count(*) FROM entries')[0]).toBe(`[["${TRANSACTIONS * ROWS_EACH + 1}n"]]`);
    const times = await timesInLog(chaos);
    const own = Array.from({ length: TRANSACTIONS + 1 }, (_, n) => counter - TRANSACTIONS + n);
    expect(own.map((one) => times.get(one))).toEqual(own.map(() => 1));
    const [state] = chaos.read(`
      SELECT (SELECT count(*) FROM _antiphon_rewound),
        (SELECT count(*) FROM sqlite_sequence WHERE name = '_antiphon_rescue')`);
    expect(state, 'rewinds, and transactions that were ever in the ledger').toBe('[["0n","0n"]]');
  });

  it(
    'I3: of one transaction in parts is undone, some of them in the log',
    { timeout: PATIENCE_MS },
    async () => {
      const [chaos, a, b] = await start();
      await writeEntry(a, 'before');
      await chaos.converged();
      let sent = 0;
      chaos.linkOf(a).intercept((subject) => subject.endsWith('.log.a') && ++sent > 4);
      const megabyte = 1024 * 1024;
      sqlite3(
        a.config.file,
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MEGABYTES * 16})
       INSERT INTO entries SELECT 'large-' || i, hex(randomblob(${megabyte / 32})) FROM n;`,
      );
      const outbox = async (): Promise<boolean> => {
        const { outbox } = await a.ask<{ outbox: { unsealed: number; unpublished: number } }>('status');
        return outbox.unsealed === 0 && outbox.unpublished > 0;
      };
      await eventually('it is sealed', outbox, PATIENCE_MS);
      await eventually('the first parts are in the log', () => chaos.linkOf(a).held('.log.a') > 0);
      const before = memoryOf(a, 'VmRSS');
      forgetPeak(a);
      await b.ask('takeOver');
      await writeEntry(b, 'of-the-next');
      chaos.linkOf(a).heal();
      await eventually('a follows', () => ledgerOf(a).length > 0, PATIENCE_MS);
      await untilPrimaryIs(chaos, 'b');
      await chaos.converged();
      const grown = memoryOf(a, 'VmHWM') - before;
      expect(grown, 'it is never in memory as a whole').toBeLessThan(128 * megabyte);
      expect(chaos.read('SELECT id FROM entries ORDER BY id')[0]).toBe('[["before"],["of-the-next"]]');
      expect(ledgerOf(a)).toMatchObject([{ changes: MEGABYTES * 16, state: 'kept', reason: 'rescued' }]);
    },
  );
});
