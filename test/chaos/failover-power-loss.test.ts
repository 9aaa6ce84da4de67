import { copyFileSync, rmSync } from 'node:fs';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { sqlite3, type ChaosCluster } from './cluster.js';
import { ledgerOf, SHORT_FAILOVER, untilPrimaryIs } from './failover-cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { PRIMARY_REPLICA, startSync, write } from './sync-cluster.js';

const { topology } = PRIMARY_REPLICA;
/** Only who is told to takes over. */
const failover = { ...SHORT_FAILOVER, mode: 'manual' };
const ROWS = 'SELECT id, payload FROM entries ORDER BY id';
const SHELL = `
  UPDATE entries SET payload = 'shell' WHERE id = 'changed-later';
  UPDATE entries SET payload = 'shell' WHERE id = 'kept';
  DELETE FROM entries WHERE id = 'deleted-by-shell';
  INSERT INTO entries VALUES ('new-of-shell', 'shell');
`;

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

function rowsOf(chaos: ChaosCluster): Record<string, string> {
  return Object.fromEntries(JSON.parse(chaos.read(ROWS)[0] ?? '[]') as [string, string][]);
}

async function run(replica: ReplicaHandle, sql: string): Promise<void> {
  expect(await write(replica, sql), sql).toMatchObject({ outcome: 'committed' });
}

/**
 * The power went, and with it the newest commits of `a`, which the log and the others have. Its
 * file is as it was before them, and a shell has written on top of that.
 */
async function afterPowerLoss(): Promise<readonly [ChaosCluster, ReplicaHandle, ReplicaHandle]> {
  cluster = await startSync({ topology, failover, update: { mode: 'async' }, proxied: true });
  const chaos = cluster;
  const [a, b] = [chaos.at(0), chaos.at(1)];
  const { file } = a.config;
  await run(a, "INSERT INTO entries VALUES ('changed-later', 'old'), ('deleted-later', 'old')");
  await run(a, "INSERT INTO entries VALUES ('kept', 'old'), ('deleted-by-shell', 'old')");
  await chaos.converged();
  sqlite3(file, `.backup ${file}.older`);
  await run(a, "UPDATE entries SET payload = 'new' WHERE id = 'changed-later'");
  await run(a, "DELETE FROM entries WHERE id = 'deleted-later'");
  await run(a, "INSERT INTO entries VALUES ('inserted-later', 'new')");
  await chaos.converged();
  await a.kill();
  for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true });
  copyFileSync(`${file}.older`, file);
  sqlite3(file, SHELL);
  return [chaos, a, b];
}

/** What the log has, whatever the shell wrote. */
const IN_LOG = { 'changed-later': 'new', 'deleted-by-shell': 'old', 'inserted-later': 'new', kept: 'old' };

/** Without what was written again by itself. */
function keptIn(replica: ReplicaHandle): ReturnType<typeof ledgerOf> {
  return ledgerOf(replica).filter(({ state }) => state === 'kept');
}

describe('a primary that loses its power, and whose file a shell writes to before it is started', () => {
  it('I3 I9: follows who took over meanwhile, and has the writes of the shell in its ledger', async () => {
    const [chaos, a, b] = await afterPowerLoss();
    await b.ask('takeOver');
    await run(b, "UPDATE entries SET payload = 'of b' WHERE id = 'kept'");
    await a.start();
    await untilPrimaryIs(chaos, 'b');
    await chaos.converged();
    expect(rowsOf(chaos)).toEqual({ ...IN_LOG, kept: 'of b' });
    expect(keptIn(a).reduce((sum, { changes }) => sum + changes, 0)).toBe(4);
  });

  it('I3: goes on where nobody did, with the writes of the shell on top', async () => {
    const [chaos, a] = await afterPowerLoss();
    await a.start();
    await untilPrimaryIs(chaos, 'a');
    await run(a, "INSERT INTO entries VALUES ('last', 'new')");
    await eventually('the others have all', () => chaos.read(ROWS).every((rows) => rows.includes('last')));
    await chaos.converged();
    const { 'deleted-by-shell': _, ...others } = IN_LOG;
    const shell = { 'changed-later': 'shell', kept: 'shell', 'new-of-shell': 'shell', last: 'new' };
    expect(rowsOf(chaos)).toEqual({ ...others, ...shell });
    expect(keptIn(a)).toEqual([]);
    expect(ledgerOf(a)).toMatchObject([{ state: 'reapplied', changes: 4 }]);
  });

  it('I3 I9: and is deposed before the log has them: its rows are those of the log', async () => {
    const [chaos, a, b] = await afterPowerLoss();
    // They are sealed again, on top of what the log has, and do not get there.
    chaos.linkOf(a).intercept((subject) => subject.endsWith('.log.a'));
    await a.start();
    await eventually('they are on their way', () => chaos.linkOf(a).held('.log.a') > 0);
    expect(sqlite3(a.config.file, "SELECT payload FROM entries WHERE id = 'changed-later'").trim()).toBe(
      'shell',
    );
    await b.ask('takeOver');
    await run(b, "UPDATE entries SET payload = 'of b' WHERE id = 'kept'");
    chaos.linkOf(a).heal();
    await untilPrimaryIs(chaos, 'b');
    await chaos.converged();
    expect(rowsOf(chaos)).toEqual({ ...IN_LOG, kept: 'of b' });
    expect(keptIn(a).reduce((sum, { changes }) => sum + changes, 0)).toBe(4);
  });
});
