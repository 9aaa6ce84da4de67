import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  antiphon,
  antiphonJson,
  descendants,
  isAlive,
  RunningCommand,
  sqlite3,
  temporaryFolder,
  PATIENCE_MS,
} from './antiphon.js';
import { eventually } from '@antiphon/testing';

let folder: ReturnType<typeof temporaryFolder>;
const running: RunningCommand[] = [];

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(async () => {
  for (const command of running.splice(0)) if (command.child.exitCode === null) await command.stop();
  folder.remove();
});

function start(...args: string[]): RunningCommand {
  const command = new RunningCommand(args, { cwd: folder.path });
  running.push(command);
  return command;
}

const file = (id: string): string => join(folder.path, '.antiphon', 'demo', `${id}.db`);

describe('demo', () => {
  it('loads the cities, shows that all replicas hold the same rows, and ends with --once', async () => {
    const { code, stdout, stderr } = await antiphon(['demo', '--once', '--rows', '5000'], {
      cwd: folder.path,
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/100% eu-1 5,000 {2}eu-2 5,000 {2}eu-3 5,000\n/);
    expect(stdout).toMatch(/5,000 rows written through eu-1 .* rows\/s/);
    expect(stdout.match(/^cities +eu-\d +5,000 +[0-9a-f]{16}$/gm)).toHaveLength(3);
    expect(stdout).toContain('equal: eu-1, eu-2, eu-3 hold the same rows');
    // A pipe gets plain lines: no cursor movements, no colours.
    expect(stdout).not.toMatch(/[\r\u001b]/);
    expect(
      ['eu-1', 'eu-2', 'eu-3'].map((id) => sqlite3(file(id), 'SELECT count(*) FROM cities').stdout),
    ).toEqual(['5000', '5000', '5000']);
  });

  it('writes one JSON object with --json', async () => {
    const args = ['demo', '--once', '--rows', '300', '--replicas', '2'];
    const result = await antiphonJson<Record<string, unknown>>(args, { cwd: folder.path });
    expect(result).toMatchObject({ outcome: 'equal', rows: 300, topology: 'primary-replica' });
    expect(result['replicas']).toHaveLength(2);
  });

  it('loads a synchronous cluster', async () => {
    const args = ['demo', '--once', '--rows', '6000', '--update', 'sync'];
    const result = await antiphonJson<Record<string, unknown>>(args, { cwd: folder.path });
    expect(result).toMatchObject({ outcome: 'equal', rows: 6000, update: 'sync' });
  });

  it('Ctrl-C stops everything and leaves no process', async () => {
    const demo = start('demo', '--rows', '500');
    await demo.says('Ctrl-C stops everything');
    const pids = descendants(demo.pid);
    // A nats-server, three replicas, and the processes that read for them.
    expect(pids.length).toBeGreaterThanOrEqual(4);
    expect((await demo.stop('SIGINT')).code).toBe(0);
    await eventually('its processes have ended', () => !pids.some(isAlive), 15_000);
    expect(existsSync(join(folder.path, '.antiphon', 'context.json'))).toBe(false);
  });

  it('leaves no process when it is killed with -9, and the next demo starts anew', async () => {
    const demo = start('demo', '--rows', '500');
    await demo.says('Ctrl-C stops everything');
    const pids = descendants(demo.pid);
    await demo.stop('SIGKILL');
    await eventually('its processes have ended', () => !pids.some(isAlive), 15_000);
    const next = await antiphonJson<{ outcome: string; rows: number }>(['demo', '--once', '--rows', '200'], {
      cwd: folder.path,
    });
    expect(next).toMatchObject({ outcome: 'equal', rows: 200 });
  });

  it('Ctrl-C while it starts or loads leaves no process either', async () => {
    for (const moment of ['runs at nats://', 'replica eu-1 runs']) {
      const demo = start('demo');
      await demo.says(moment);
      const pids = descendants(demo.pid);
      await demo.stop('SIGINT');
      await eventually('its processes have ended', () => !pids.some(isAlive), 15_000);
    }
  });

  it('starts a replica and nats-server again when they are killed', async () => {
    const demo = start('demo', '--rows', '500', '--topology', 'multi-primary');
    await demo.says('Ctrl-C stops everything');
    const pidOf = (pattern: RegExp): number => Number(pattern.exec(demo.stdout)?.[1]);
    process.kill(pidOf(/eu-2\.db \(pid (\d+)\)/), 'SIGKILL');
    await demo.says(/eu-2 ended with SIGKILL; starting it again/);
    sqlite3(file('eu-3'), "UPDATE cities SET name = 'changed meanwhile' WHERE id = 3039154");
    await demo.says(/eu-2 is back/);
    process.kill(pidOf(/runs at nats:.*\(pid (\d+)\)/), 'SIGKILL');
    await demo.says(/nats-server is back/);
    const name = (id: string): string =>
      sqlite3(file(id), 'SELECT name FROM cities WHERE id = 3039154').stdout;
    await eventually(
      'the change has arrived',
      () => ['eu-1', 'eu-2', 'eu-3'].every((id) => name(id) === 'changed meanwhile'),
      PATIENCE_MS,
    );
    expect((await antiphon(['verify'], { cwd: folder.path })).code).toBe(0);
  });

  it('shows how another replica takes the place of the primary, what is kept aside, and who returns', async () => {
    const demo = start('demo', '--rows', '500');
    await demo.says('Ctrl-C stops everything');
    const pidAfter = (text: RegExp): number => Number(text.exec(demo.stdout)?.[1]);
    process.kill(pidAfter(/End the primary, eu-1: .*\n +kill -9 (\d+);/), 'SIGKILL');
    const { stderr } = sqlite3(file('eu-1'), "UPDATE cities SET name = 'kept aside' WHERE id = 3039154");
    expect(stderr).toBe('');
    await demo.says(/eu-[23] is the primary \(pid \d+\), \d+\.\d\d s after eu-1 ended: epoch 2, failover/);
    const primary = /(eu-[23]) is the primary/.exec(demo.stdout)?.[1] ?? '';
    await demo.says(
      new RegExp(`eu-1 follows ${primary}\\. Its rescue ledger has 1 transaction .*rescue list`),
    );
    const ledger = await antiphon(['rescue', 'list', '--replica', 'eu-1'], { cwd: folder.path });
    expect(ledger.stdout).toMatch(/eu-1: 1 kept/);
    process.kill(pidAfter(/eu-[23] is the primary \(pid (\d+)\)/), 'SIGKILL');
    await demo.says(new RegExp(`eu-\\d is the primary \\(pid \\d+\\), .* after ${primary} ended: epoch 3`));
    await demo.says(new RegExp(`${primary} follows eu-\\d\\. Its rescue ledger is empty`));
    expect((await antiphon(['verify'], { cwd: folder.path })).code).toBe(0);
    expect(sqlite3(file('eu-1'), 'SELECT name FROM cities WHERE id = 3039154').stdout).not.toBe('kept aside');
  });

  it('in a folder of its own, shows commands and files as they are called there', async () => {
    // As in a checkout: the command is not on the PATH, as it is under npm.
    const PATH = (process.env['PATH'] ?? '').split(':').filter((entry) => !entry.includes('node_modules'));
    const demo = new RunningCommand(['demo', '--rows', '200', '--dir', 'here'], {
      ...{ cwd: folder.path, env: { PATH: PATH.join(':'), ANTIPHON_COMMAND: '' } },
    });
    running.push(demo);
    await demo.says('Ctrl-C stops everything');
    const here = join(folder.path, 'here');
    expect(demo.stdout).toMatch(/sqlite3 shell.* \(in here\):/);
    const [, command = ''] = /\n {2}(.*) verify\n/.exec(demo.stdout) ?? [];
    expect(execFileSync('sh', ['-c', `${command} verify`], { cwd: here, encoding: 'utf8' })).toMatch(
      /^equal: /m,
    );
    const files = Array.from(demo.stdout.matchAll(/sqlite3 -cmd '[^']+' (\S+) /g), ([, name = '']) => name);
    expect(new Set(files)).toEqual(new Set(['eu-1.db', 'eu-2.db']));
  });

  it('refuses a folder that no demo made, and touches nothing in it', async () => {
    const other = join(folder.path, 'mine');
    mkdirSync(other);
    writeFileSync(join(other, 'precious.txt'), 'x');
    const { code, stderr } = await antiphon(['demo', '--once', '--dir', 'mine'], { cwd: folder.path });
    expect(code).toBe(2);
    expect(stderr).toContain('is not empty and was not made by a demo');
    expect(existsSync(join(other, 'precious.txt'))).toBe(true);
  });
});
