import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Where,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

/** Synchronous updates as a user of the command sees them, against one demo that stays. */
const folder = temporaryFolder();
const where: Where = { cwd: folder.path };
let demo: RunningCommand;

const IDS = ['eu-1', 'eu-2', 'eu-3'] as const;
const ROW = 3039154;
const file = (id: string): string => join(folder.path, '.antiphon', 'demo', `${id}.db`);
const population = (id: string): number =>
  Number(sqlite3(file(id), `SELECT population FROM cities WHERE id = ${ROW}`).stdout);
const setTo = (value: number): string => `UPDATE cities SET population = ${value} WHERE id = ${ROW}`;

beforeAll(async () => {
  demo = new RunningCommand(
    ['demo', '--update', 'sync', '--rows', '1000', '--topology', 'multi-primary'],
    where,
  );
  await demo.says('Ctrl-C stops everything');
  await eventually('all are in sync', async () => (await inSync()).length === IDS.length, PATIENCE_MS);
});

afterAll(async () => {
  await demo.stop();
  folder.remove();
});

interface Written {
  readonly outcome: string;
  readonly transaction: string;
  readonly acks: {
    readonly level: string;
    readonly by: string[];
    readonly missing: string[];
    reached: boolean;
  };
}

interface Status {
  readonly replicas: readonly { readonly sync?: { readonly inSync: readonly string[] } }[];
}

const inSync = async (): Promise<readonly string[]> => {
  const { replicas } = await antiphonJson<Status>(['status'], where);
  return replicas.find(({ sync }) => sync !== undefined)?.sync?.inSync ?? [];
};

const pidOf = (id: string): number =>
  Number(new RegExp(`${id}\\.db \\(pid (\\d+)\\)`).exec(demo.stdout)?.[1]);

/**
 * Paused processes neither answer nor acknowledge; they go on afterwards, and back into the in-sync
 * set.
 */
async function paused(ids: readonly string[], body: () => Promise<void>): Promise<void> {
  for (const id of ids) process.kill(pidOf(id), 'SIGSTOP');
  try {
    await body();
  } finally {
    for (const id of ids) process.kill(pidOf(id), 'SIGCONT');
  }
  await eventually('all are in sync again', async () => (await inSync()).length === IDS.length, PATIENCE_MS);
}

describe('a synchronous cluster', () => {
  it('I6: exec answers when every replica has the write, and says who', async () => {
    const written = await antiphonJson<Written>(['exec', '--replica', 'eu-2', setTo(41)], where);
    expect(IDS.map(population)).toEqual([41, 41, 41]);
    expect(written).toMatchObject({
      outcome: 'committed',
      acks: { level: 'all', missing: [], reached: true },
    });
    expect(Array.from(written.acks.by).sort()).toEqual(IDS);
    const { stdout, stderr } = await antiphon(['exec', setTo(42), '--acks', 'majority'], where);
    expect(stdout).toMatch(/^1 row changed on eu-1 \(transaction eu-1:\d+\)\nacknowledged by eu-\d, eu-\d/);
    expect(stderr).toBe('');
  });

  it('status shows the mode, and who is in sync', async () => {
    const { stdout } = await antiphon(['status'], where);
    expect(stdout).toMatch(
      /^cluster demo \(multi-primary, sync: acks all, at least 2 in sync, else reject\)/,
    );
    expect(stdout.match(/^eu-\d .* yes +0$/gm)).toHaveLength(3);
  });

  it('I8: outcome tells what became of a write, and of an attempt that never came into the log', async () => {
    const { transaction } = await antiphonJson<Written>(['exec', setTo(43)], where);
    expect(await antiphonJson(['outcome', transaction], where)).toMatchObject({
      outcome: 'committed',
      replica: 'eu-1',
      position: { seq: expect.any(Number) as number },
    });
    const { code, stdout } = await antiphon(['outcome', `${transaction}~other`, '--replica', 'eu-3'], where);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^eu-1:\d+~other rejected: nothing of it was written \(says eu-3\)\n/);
  });

  it('I12: a strong read, and one after a position, show what was acknowledged', async () => {
    const { transaction } = await antiphonJson<Written>(['exec', setTo(44), '--acks', 'logged'], where);
    const select = ['query', '--replica', 'eu-3', `SELECT population FROM cities WHERE id = ${ROW}`];
    for (const promise of [
      ['--consistency', 'strong'],
      ['--after', transaction],
    ]) {
      expect(await antiphonJson([...select, ...promise], where)).toMatchObject({ rows: [[44]] });
    }
    const { stdout } = await antiphon(['status'], where);
    const place = /^eu-1 .* ([0-9a-f-]{13}\/\d+) /m.exec(stdout)?.[1] ?? '';
    expect(await antiphonJson([...select, '--after', place], where)).toMatchObject({ rows: [[44]] });
  });

  it('refuses what another program writes', () => {
    expect(sqlite3(file('eu-2'), 'DELETE FROM cities').stderr).toContain('synchronous cluster');
  });

  it('changes shows what was committed, and nothing of what certification rejected', async () => {
    await antiphon(['exec', setTo(0)], where);
    const sql = `UPDATE cities SET population = population + 1 WHERE id = ${ROW}`;
    const load = (replica: string): Promise<unknown> =>
      antiphon(['bench', '--replica', replica, '--sql', sql, '--seconds', '1', '--concurrency', '4'], where);
    await Promise.all([load('eu-1'), load('eu-2')]);
    const last = new RunningCommand(['changes', '--from', 'beginning', '--json'], where);
    await antiphon(['exec', setTo(-1)], where);
    const reached = (): boolean => last.stdout.includes('"population":-1,');
    await eventually('the last change is shown', reached, PATIENCE_MS);
    const { stdout } = await last.stop('SIGINT');
    let [expected, counted] = [0, false];
    for (const line of stdout.trim().split('\n')) {
      const { key, after } = JSON.parse(line) as { key: { id: number }; after: { population: number } };
      if (key.id !== ROW) continue;
      if (after.population === 0) [expected, counted] = [0, true];
      else if (counted && after.population > 0) expect(after.population).toBe((expected += 1));
    }
    expect(expected).toBeGreaterThan(10);
  });
});

describe('replicas that are away', () => {
  it('one that is silent leaves the in-sync set, and gets the write when it is back', async () => {
    await paused(['eu-3'], async () => {
      const args = ['exec', setTo(50), '--replica', 'eu-1'];
      const { code, stdout } = await antiphon(args, where);
      expect(code).toBe(0);
      expect(stdout).toMatch(/acknowledged by eu-1, eu-2\n/);
      await eventually(
        'it is out of the in-sync set',
        async () => (await inSync()).length === 2,
        PATIENCE_MS,
      );
      const status = await antiphon(['status'], where);
      expect(status.stdout).toMatch(/^eu-3 +no answer +no$/m);

      const undecided = await antiphon(['outcome', 'eu-3:900', '--json'], where);
      expect(undecided.code).toBe(1);
      expect(JSON.parse(undecided.stdout)).toMatchObject({ outcome: 'unknown', transaction: 'eu-3:900' });
    });
    expect(population('eu-3')).toBe(50);
  });

  it('I8: no answer is an unknown outcome', async () => {
    await paused(['eu-3'], async () => {
      const args = ['exec', setTo(60), '--replica', 'eu-3', '--timeout', '1', '--json'];
      const { code, stdout, stderr } = await antiphon(args, where);
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toEqual({ outcome: 'unknown', replica: 'eu-3', transaction: null });
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN', retriable: false } });
    });
  });

  it('with too few in sync a write is rejected, and waits for nobody when it asks for that', async () => {
    await paused(['eu-2', 'eu-3'], async () => {
      await eventually('eu-1 is alone', async () => (await inSync()).length === 1, PATIENCE_MS);
      const before = population('eu-1');
      const refused = await antiphon(['exec', setTo(70), '--replica', 'eu-1', '--json'], where);
      expect(refused.code).toBe(1);
      expect(refused.stdout).toBe('');
      expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'NOT_IN_SYNC', retriable: true } });
      expect(population('eu-1')).toBe(before);
      const alone = await antiphon(['exec', setTo(71), '--replica', 'eu-1', '--acks', 'local'], where);
      expect(alone).toMatchObject({ code: 0, stderr: '' });

      expect((await antiphon(['status'], where)).stdout).toContain(
        '! Only 1 of at least 2 replicas is in sync',
      );
      const doctor = await antiphon(['doctor'], where);
      expect(doctor.code).toBe(1);
      expect(doctor.stdout).toMatch(/^fail +1 of at least 2 replicas is in sync \(eu-1\)/m);
    });
    expect((await antiphon(['verify'], where)).code).toBe(0);
  });
});

describe('a cluster that degrades', () => {
  const other = temporaryFolder();
  const here: Where = { cwd: other.path };
  let up: RunningCommand;
  afterAll(async () => {
    await up.stop();
    other.remove();
  });

  it('is made by up from its file, says DEGRADED, and lets other programs write', async () => {
    sqlite3(join(other.path, 'notes.db'), 'CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)');
    const text = `cluster: notes
id: eu-1
nats: { servers: nats://127.0.0.1:4222 }
store: { sqlite: { file: ./notes.db } }
topology: { mode: primary-replica, primary: eu-1 }
update: { mode: sync, onShortfall: degrade, foreignWrites: async }
`;
    writeFileSync(join(other.path, 'notes.yaml'), text);
    up = new RunningCommand(['up', '--config', 'notes.yaml', '--replicas', '2'], here);
    await up.says('Ctrl-C stops everything');
    const copy = join(other.path, '.antiphon', 'up', 'eu-2.db');
    const insert = (id: number): string[] => [
      'exec',
      '--replica',
      'eu-1',
      `INSERT INTO notes VALUES (${id}, 'x')`,
    ];
    expect(await antiphonJson(insert(1), here)).toMatchObject({ acks: { by: ['eu-1', 'eu-2'] } });
    expect(sqlite3(copy, 'SELECT count(*) FROM notes').stdout).toBe('1');

    sqlite3(join(other.path, 'notes.db'), "INSERT INTO notes VALUES (2, 'by another program')");
    await eventually(
      'the row has arrived',
      () => sqlite3(copy, 'SELECT count(*) FROM notes').stdout === '2',
      PATIENCE_MS,
    );

    const pid = Number(/eu-2\.db \(pid (\d+)\)/.exec(up.stdout)?.[1]);
    process.kill(pid, 'SIGSTOP');
    await eventually(
      'status says DEGRADED',
      async () => (await antiphon(['status'], here)).stdout.includes('! DEGRADED'),
      PATIENCE_MS,
    );
    const written = await antiphon(insert(3), here);
    expect(written.code).toBe(0);
    expect(written.stderr).toContain('! DEGRADED: too few replicas are in sync');
    expect(await antiphonJson(insert(4), here)).toMatchObject({ outcome: 'committed', degraded: true });
    process.kill(pid, 'SIGCONT');
    await eventually(
      'the rows have arrived',
      () => sqlite3(copy, 'SELECT count(*) FROM notes').stdout === '4',
      PATIENCE_MS,
    );
  });
});
