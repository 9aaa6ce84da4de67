import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectNats } from '@antiphon/nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  descendants,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  type Where,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

/** The commands that look after a cluster, against one demo that stays. */
const folder = temporaryFolder();
const where: Where = { cwd: folder.path };
let demo: RunningCommand;

const IDS = ['eu-1', 'eu-2', 'eu-3'] as const;
const file = (id: string): string => join(folder.path, '.antiphon', 'demo', `${id}.db`);
const scalar = (id: string, sql: string): string => sqlite3(file(id), sql).stdout;

beforeAll(async () => {
  demo = new RunningCommand(['demo', '--rows', '1000', '--topology', 'multi-primary'], where);
  await demo.says('Ctrl-C stops everything');
});

afterAll(async () => {
  await demo.stop();
  folder.remove();
});

interface ErrorLine {
  readonly error: { readonly code: string; readonly message: string; readonly retriable: boolean };
}

async function failure(...args: string[]): Promise<ErrorLine['error'] & { exit: number | null }> {
  const { code, stdout, stderr } = await antiphon([...args, '--json'], where);
  expect(stdout).toBe('');
  return { ...(JSON.parse(stderr) as ErrorLine).error, exit: code };
}

describe('status', () => {
  it('shows every replica', async () => {
    const { code, stdout } = await antiphon(['status'], where);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cluster demo \(multi-primary, async\) at nats:/);
    expect(stdout.match(/^eu-\d +peer +following +\d+ +0 /gm)).toHaveLength(3);
  });

  it('writes everything it knows as JSON', async () => {
    const { replicas } = await antiphonJson<{ replicas: Record<string, unknown>[] }>(['status'], where);
    expect(replicas.map((replica) => replica['id'])).toEqual(IDS);
    expect(replicas[0]).toMatchObject({
      answers: true,
      lifecycle: 'following',
      role: 'peer',
      connection: 'connected',
    });
  });

  it('--watch writes again and again, and Ctrl-C ends it well', async () => {
    const watch = new RunningCommand(['status', '--watch', '--interval', '100', '--json'], where);
    await eventually('three lines', () => watch.stdout.split('\n').length > 3, PATIENCE_MS);
    const { code, stdout } = await watch.stop('SIGINT');
    expect(code).toBe(0);
    for (const line of stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('replicas');
  });
});

describe('exec and query', () => {
  it('a write through one replica is read from another', async () => {
    const written = await antiphonJson<Record<string, unknown>>(
      [
        'exec',
        '--replica',
        'eu-2',
        'INSERT INTO cities (id, name, country, population, latitude) VALUES (?, ?, ?, ?, ?)',
        '--params',
        '[-1, "Nöwhere ☃", "XX", 9007199254740993, 5.0]',
      ],
      where,
    );
    expect(written).toMatchObject({ outcome: 'committed', replica: 'eu-2', changes: [1] });
    expect(written['transaction']).toMatch(/^eu-2:\d+$/);
    await eventually(
      'it has arrived',
      () => scalar('eu-3', 'SELECT count(*) FROM cities WHERE id = -1') === '1',
      PATIENCE_MS,
    );
    const { stdout } = await antiphon(
      [
        'query',
        '--replica',
        'eu-3',
        'SELECT name, population, latitude, municipality FROM cities WHERE id = ?',
        '--params',
        '[-1]',
        '--json',
      ],
      where,
    );
    expect(stdout).toContain('"rows":[["Nöwhere ☃",9007199254740993,5.0,null]]');
  });

  it('several statements are one transaction: all or none', async () => {
    const error = await failure(
      'exec',
      '--replica',
      'eu-1',
      'DELETE FROM cities WHERE id = 3039154',
      "INSERT INTO cities (id, name, country) VALUES (3039163, 'x', 'x')",
    );
    expect(error).toMatchObject({ code: 'CONSTRAINT', exit: 1 });
    expect(scalar('eu-1', 'SELECT count(*) FROM cities WHERE id = 3039154')).toBe('1');
  });

  it('I12: a session reads its own write on another replica, by the id of its transaction', async () => {
    const { transaction } = await antiphonJson<{ transaction: string }>(
      ['exec', '--replica', 'eu-3', 'UPDATE cities SET population = 77 WHERE id = 3039604'],
      where,
    );
    const query = ['query', '--replica', 'eu-2', 'SELECT population FROM cities WHERE id = 3039604'];
    const read = await antiphonJson([...query, '--consistency', 'session', '--after', transaction], where);
    expect(read).toMatchObject({ rows: [[77]] });
  });

  it('I8: outcome tells what became of a write', async () => {
    expect(await antiphonJson(['outcome', 'eu-1:1'], where)).toMatchObject({
      outcome: 'committed',
      transaction: 'eu-1:1',
      replica: 'eu-1',
    });
    const { code, stdout } = await antiphon(['outcome', 'eu-1:90000'], where);
    expect(code).toBe(1);
    expect(stdout).toMatch(/unknown.*\n.*no write has this number yet\nCheck the id\..* like eu-1:90000~/);
  });

  it('a table for people has the count on stderr', async () => {
    const { stdout, stderr } = await antiphon(
      ['query', 'SELECT id, name FROM cities WHERE id > 0 ORDER BY id LIMIT 2'],
      where,
    );
    expect(stdout.split('\n')).toHaveLength(4);
    expect(stdout).toMatch(/^ *id +name\n/);
    expect(stderr).toBe('2 rows from eu-1\n');
  });
});

describe('changes', () => {
  it('follows from the beginning, and goes on after a cursor without loss or repetition', async () => {
    const read = async (...args: string[]): Promise<Record<string, unknown>[]> => {
      const { stdout } = await antiphon(['changes', '--json', ...args], where);
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    };
    const all = await read('--from', 'beginning', '--max', '20');
    expect(all).toHaveLength(20);
    expect(all[0]).toMatchObject({
      transaction: 'eu-1:1',
      op: 'insert',
      table: 'cities',
      key: { id: 3039154 },
    });
    const rest = await read('--from', all[6]!['cursor'] as string, '--max', '13');
    expect(rest).toEqual(all.slice(7));
  });

  it('shows a write of the sqlite3 shell as it is committed', async () => {
    const changes = new RunningCommand(['changes', '--json'], where);
    const id = 3039163;
    // It follows from now on, whenever that is: write until it says something.
    await eventually(
      'the change is shown',
      () => {
        sqlite3(file('eu-3'), `UPDATE cities SET population = population + 1 WHERE id = ${id}`);
        return changes.stdout.includes('\n');
      },
      PATIENCE_MS,
    );
    const { code, stdout } = await changes.stop('SIGINT');
    expect(code).toBe(0);
    const change = JSON.parse(stdout.split('\n')[0]!) as {
      before: { population: number };
      after: { population: number };
    };
    expect(change).toMatchObject({ op: 'update', key: { id }, before: {} });
    expect(Object.keys(change.before)).toEqual(['population']);
    expect(change.after.population).toBe(change.before.population + 1);
  });

  it('refuses a cursor that is none', async () => {
    expect(await failure('changes', '--from', 'yesterday')).toMatchObject({ code: 'BAD_OPTION', exit: 2 });
  });
});

describe('quarantine', () => {
  interface Listed {
    readonly replicas: readonly {
      readonly id: string;
      readonly total: number;
      readonly discarded: number;
      readonly messages: readonly { readonly seq: number; readonly code: string }[];
    }[];
  }
  const list = (): Promise<Listed> => antiphonJson<Listed>(['quarantine', 'list'], where);

  it('list, show, retry and discard', async () => {
    const { servers } = JSON.parse(readFileSync(join(folder.path, '.antiphon', 'context.json'), 'utf8')) as {
      servers: string[];
    };
    const nats = await connectNats({ servers });
    const log = nats.log('demo');
    await log.open({ create: false });
    const data = Buffer.from('nonsense');
    await new Promise<void>((resolve) => log.append({ origin: 'stranger', id: 's1', data }, () => resolve()));
    await nats.close();
    await eventually(
      'all have quarantined it',
      async () => (await list()).replicas.every(({ total }) => total === 1),
      PATIENCE_MS,
    );
    const { replicas } = await list();
    expect(replicas.map(({ id }) => id)).toEqual(IDS);
    expect(replicas[0]?.messages).toMatchObject([{ code: 'UNKNOWN_ORIGIN' }]);
    const seq = String(replicas[0]?.messages[0]?.seq);
    const status = await antiphon(['status'], where);
    expect(status.stdout).toContain('antiphon quarantine list --replica eu-1');

    const shown = await antiphon(['quarantine', 'show', seq], where);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/from stranger, 8 bytes[^]*stranger is not a member[^]*6e6f6e73656e7365/);
    const retried = await antiphon(['quarantine', 'retry'], where);
    expect(retried.code).toBe(1);
    expect(retried.stdout.match(/refused\. It stays in quarantine: stranger is not a member/g)).toHaveLength(
      3,
    );

    expect(await failure('quarantine', 'discard', seq)).toMatchObject({
      ...{ code: 'BAD_OPTION', exit: 2 },
      message: expect.stringContaining('--yes') as unknown,
    });
    expect(await failure('quarantine', 'show', '1')).toMatchObject({ code: 'BAD_OPTION', exit: 2 });
    const one = await antiphon(['quarantine', 'discard', seq, '--replica', 'eu-2', '--yes'], where);
    expect(one).toMatchObject({ code: 0, stdout: 'eu-2: 1 discarded\n' });
    const all = await antiphonJson<Listed>(['quarantine', 'discard', 'all', '--yes'], where);
    expect(all.replicas.map(({ discarded }) => discarded)).toEqual([1, 0, 1]);
    expect((await list()).replicas.map(({ total, discarded }) => [total, discarded])).toEqual(
      IDS.map(() => [0, 1]),
    );
  });
});

describe('settings', () => {
  it('list shows what is agreed on, and set says who has to be stopped first', async () => {
    const { stdout } = await antiphon(['settings', 'list'], where);
    expect(stdout).toBe('clockRefusalMs 86400000\nvalueBytes 67108864\nrowBytes 134217728\n');
    expect(await failure('settings', 'set', 'clockRefusalMs', '7200000')).toMatchObject({
      ...{ code: 'MEMBER_RUNNING', exit: 1 },
      message: expect.stringContaining('eu-1, eu-2, eu-3 of cluster demo run') as unknown,
    });
    expect(await failure('settings', 'set', 'beatMs', '5')).toMatchObject({ code: 'BAD_OPTION', exit: 2 });
  });
});

describe('doctor and bench', () => {
  it('doctor finds nothing that failed, and grades the durability', async () => {
    const { code, stdout } = await antiphon(['doctor', '--json'], where);
    expect(code).toBe(0);
    const { healthy, checks } = JSON.parse(stdout) as {
      healthy: boolean;
      checks: { name: string; grade: string }[];
    };
    expect(healthy).toBe(true);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['server', 'jetstream', 'log', 'durability', 'clock', ...IDS]),
    );
  });

  it('bench measures requests', async () => {
    const { code, stdout } = await antiphon(['bench', '--seconds', '1', '--json'], where);
    expect(code).toBe(0);
    const cases = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { case: string; perSecond: number });
    expect(cases.map((line) => line.case)).toEqual(['ping', 'query (SELECT 1)']);
    expect(Math.min(...cases.map(({ perSecond }) => perSecond))).toBeGreaterThan(0);
  });
});

describe('a query that is interrupted', () => {
  const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
  const isReading = (): boolean =>
    descendants(demo.pid).some((pid) => {
      const { stdout } = spawnSync('ps', ['-o', 'stat=,args=', '-p', String(pid)], { encoding: 'utf8' });
      return /^R.*reader-process/.test(stdout);
    });

  it.each([
    [[], /^`antiphon query` was interrupted before the answer came\.\n$/],
    [['--json'], /^\{"error":\{"code":"ABORTED","message":"`antiphon query` was interrupted [^}]*\}\}\}\n$/],
  ])('says so in one line and ends with 130, with %j', async (more, said) => {
    const query = new RunningCommand(['query', ENDLESS, '--timeout', '20', ...more], where);
    await eventually('a replica reads', isReading, PATIENCE_MS);
    const { code, stdout, stderr } = await query.stop('SIGINT');
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(stderr).toMatch(said);
    await eventually('its process has ended', () => !isReading(), PATIENCE_MS);
  });
});

describe('what goes wrong', () => {
  it.each([
    [
      'an unknown replica',
      ['query', 'SELECT 1', '--replica', 'eu-11'],
      'NO_ACTOR',
      1,
      'Did you mean "eu-1"?',
    ],
    ['an unknown cluster', ['status', '--cluster', 'shop'], 'NO_ACTOR', 1, 'There is no cluster shop'],
    ['bad SQL', ['exec', 'UPDATE nowhere SET x = 1'], 'BAD_SQL', 1, 'no such table: nowhere'],
    [
      'a table that nobody has',
      ['verify', '--tables', 'nope'],
      'UNKNOWN_TABLE',
      1,
      'does not replicate table nope. It replicates cities',
    ],
    ['a query that writes', ['query', 'DELETE FROM cities'], 'BAD_SQL', 1, 'only reads'],
    [
      'more rows than wanted',
      ['query', 'SELECT * FROM cities', '--limit', '2'],
      'BAD_OPTION',
      2,
      'raise --limit',
    ],
    [
      'bad parameters',
      ['exec', 'SELECT ?', '--params', '[1'],
      'BAD_OPTION',
      2,
      '`--params` is not valid JSON',
    ],
    [
      'NATS away',
      ['status', '--servers', 'nats://127.0.0.1:1', '--cluster', 'demo'],
      'LOG_UNAVAILABLE',
      1,
      '127.0.0.1:1',
    ],
    ['a second demo', ['demo'], 'BAD_OPTION', 2, 'already runs in this folder'],
    ['an unknown command', ['stauts'], 'BAD_OPTION', 2, 'Did you mean "status"?'],
    ['an unknown option', ['status', '--wacth'], 'BAD_OPTION', 2, 'Did you mean "--watch"?'],
    [
      'acknowledgements in an asynchronous cluster',
      ['exec', 'DELETE FROM cities', '--acks', 'all'],
      'BAD_OPTION',
      2,
      'update: { mode: sync }',
    ],
    [
      'an unknown level',
      ['exec', 'SELECT 1', '--acks', 'majorty'],
      'BAD_OPTION',
      2,
      'Did you mean "majority"?',
    ],
    ['an id that is none', ['outcome', 'yesterday'], 'BAD_OPTION', 2, 'like eu-1:42'],
    ['an id of nobody', ['outcome', 'eu-11:1'], 'NO_ACTOR', 1, 'Did you mean "eu-1"?'],
    [
      'a session without a place',
      ['query', 'SELECT 1', '--consistency', 'session'],
      'BAD_OPTION',
      2,
      '--after',
    ],
    [
      'a place without a session',
      ['query', 'SELECT 1', '--consistency', 'any', '--after', 'eu-1:1'],
      'BAD_OPTION',
      2,
      '--after',
    ],
    [
      'a place in another log',
      ['query', 'SELECT 1', '--after', 'ffffffff/1'],
      'BAD_OPTION',
      2,
      'another log',
    ],
    [
      'what to write with instead',
      ['query', 'DELETE FROM cities'],
      'BAD_SQL',
      1,
      'Write with `antiphon exec`.',
    ],
    ['a missing argument', ['exec'], 'BAD_OPTION', 2, "missing required argument 'sql'"],
    ['a bad number', ['bench', '--seconds', 'many'], 'BAD_OPTION', 2, 'whole number'],
    [
      'a bad topology',
      ['demo', '--topology', 'mulit-primary'],
      'BAD_OPTION',
      2,
      'Did you mean "multi-primary"?',
    ],
  ])('%s is said as JSON on stderr', async (_, args, code, exit, text) => {
    const error = await failure(...args);
    expect(error).toMatchObject({ code, exit });
    expect(error.message).toContain(text);
  });

  it('without a cluster in this folder it says how to name one', async () => {
    const elsewhere = temporaryFolder();
    const { code, stderr } = await antiphon(['status'], { cwd: elsewhere.path });
    elsewhere.remove();
    expect(code).toBe(2);
    expect(stderr).toContain('Which cluster?');
  });

  it('a reader that goes away ends it quietly', async () => {
    const changes = new RunningCommand(['changes', '--from', 'beginning', '--json'], where);
    await eventually('it writes', () => changes.stdout !== '', PATIENCE_MS);
    changes.child.stdout?.destroy();
    const { code, stderr } = await changes.ended;
    expect(code).toBe(0);
    // What an earlier test put into the log may be told in time.
    expect(stderr).toMatch(/^(! entry \d+ of the log is ignored: .*\n)*$/);
  });
});

/** Last: it leaves the cluster damaged. */
describe('verify', () => {
  it('finds equal replicas equal', async () => {
    const { code, stdout } = await antiphon(['verify'], where);
    expect(code).toBe(0);
    expect(stdout).toContain('equal: eu-1, eu-2, eu-3 hold the same rows');
  });

  it('names the rows that differ after a file was changed behind the triggers', async () => {
    sqlite3(
      file('eu-3'),
      `BEGIN; UPDATE _antiphon_state SET applying = 1; UPDATE cities SET population = -7 WHERE id = 3039163;
       DELETE FROM cities WHERE id = 3039604; UPDATE _antiphon_state SET applying = 0; COMMIT;`,
    );
    const { code, stdout } = await antiphon(['verify', '--json'], where);
    expect(code).toBe(1);
    const { outcome, differences } = JSON.parse(stdout) as {
      outcome: string;
      differences: { table: string; replicas: string[]; rows: object[] }[];
    };
    expect(outcome).toBe('different');
    expect(differences).toHaveLength(1);
    expect(differences[0]).toMatchObject({ table: 'cities', replicas: ['eu-1', 'eu-3'] });
    expect(differences[0]!.rows).toEqual([
      { key: [3039163], kind: 'differs' },
      { key: [3039604], kind: 'only-left' },
    ]);
    const text = await antiphon(['verify'], where);
    expect(text.stdout).toMatch(
      /cities differs between eu-1 and eu-3:\n {2}3039163: differs\n {2}3039604: only on eu-1\n/,
    );
  });
});
