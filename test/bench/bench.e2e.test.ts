import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

/**
 * Every bench once, with next to no rows: do they run, and do they write what their documentation
 * says?
 */
const folder = fileURLToPath(new URL('.', import.meta.url));
const main = join(folder, 'dist', 'main.js');

interface Figure {
  readonly bench: string;
  readonly case: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => void (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => void (stderr += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

async function figuresOf(...args: string[]): Promise<Figure[]> {
  const { code, stdout, stderr } = await run(...args, '--json', '--rounds', '1');
  if (code !== 0) throw new Error(stderr);
  const figures = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Figure);
  for (const figure of figures) {
    expect(Object.keys(figure)).toEqual(['bench', 'case', 'metric', 'value', 'unit']);
    expect(Number.isFinite(figure.value), `${figure.case} ${figure.metric}`).toBe(true);
  }
  return figures;
}

const names = (figures: readonly Figure[]): string[] =>
  figures.map((figure) => `${figure.case}: ${figure.metric}`);

beforeAll(() => {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript')), 'tsc.js');
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-b', folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stdout);
});

describe('npm run bench', () => {
  it('bulk compares the topologies and says where the processor time goes', async () => {
    const figures = names(await figuresOf('bulk', '--rows', '3000'));
    expect(figures).toEqual(
      expect.arrayContaining([
        'primary-replica: throughput',
        'multi-primary: throughput',
        'primary-replica: cpu of nats-server per million rows',
        'multi-primary / primary-replica: ratio',
      ]),
    );
  });

  it.skipIf(!existsSync('/usr/lib/postgresql'))('bulk --peers runs PostgreSQL in the same run', async () => {
    const figures = names(await figuresOf('bulk', '--rows', '3000', '--peers')).join('\n');
    expect(figures).toMatch(/postgresql \d+ streaming: throughput/);
    expect(figures).toMatch(/primary-replica \/ postgresql \d+ logical: ratio/);
  });

  it('transactions', async () => {
    expect(names(await figuresOf('transactions', '--rows', '1000'))).toEqual(
      ['primary-replica', 'multi-primary'].flatMap((topology) =>
        ['committed', 'applied on both followers', 'largest lag'].map(
          (metric) => `${topology}, 64 writers: ${metric}`,
        ),
      ),
    );
  });

  it('propagation', async () => {
    const figures = await figuresOf('propagation', '--rows', '10');
    expect(figures).toHaveLength(4);
    expect(figures.every(({ unit, value }) => unit === 'ms' && value > 0)).toBe(true);
  });

  it('catch-up', async () => {
    expect(names(await figuresOf('catch-up', '--rows', '5000'))).toEqual([
      'primary-replica: applied',
      'multi-primary: applied',
    ]);
  });

  it('memory', async () => {
    const figures = await figuresOf('memory', '--rows', '1000');
    expect(figures).toHaveLength(18);
    expect(figures.every(({ unit, value }) => unit === 'MB' && value > 20)).toBe(true);
  });

  it('sync measures latency, throughput, and what certification rejects', async () => {
    const figures = await figuresOf('sync', '--rows', '1000');
    const spread = 'multi-primary, 64 writers on 3';
    expect(names(figures)).toEqual([
      'primary-replica, 1 writer: p50',
      'primary-replica, 1 writer: p99',
      'primary-replica, 64 writers: throughput',
      `${spread}: throughput`,
      ...[1, 10, 50].flatMap((percent) =>
        ['throughput', 'abort rate', 'rejections per write'].map(
          (metric) => `${spread}, ${percent} % on 10 hot rows: ${metric}`,
        ),
      ),
      'multi-primary / primary-replica: throughput',
    ]);
    expect(figures.every(({ unit, value }) => unit === 'ratio' || value > 0)).toBe(true);
  });

  it('failover measures takeovers by their phases, and switchovers', { timeout: 180_000 }, async () => {
    const figures = await figuresOf('failover');
    const valueOf = (name: string, metric: string): number =>
      figures.find((figure) => figure.case === name && figure.metric === metric)?.value ?? Number.NaN;
    for (const name of ['async, defaults', 'sync, defaults', 'async, short'])
      for (const how of ['kill -9', 'SIGSTOP']) {
        const at = (metric: string): number => valueOf(`${how}, ${name}`, metric);
        // One that is on its way when the signal is sent arrives a moment after it.
        expect(at('last renewal')).toBeLessThan(100);
        expect(at('noticed')).toBeGreaterThan(0);
        expect(at('lease taken')).toBeGreaterThan(at('noticed'));
        expect(at('first write on the next primary')).toBeGreaterThan(at('record read'));
        expect(at('first write on a follower')).toBeGreaterThan(at('claimed'));
      }
    for (const mode of ['async', 'sync']) {
      expect(valueOf(`switchover, ${mode}, defaults`, 'longest wait of a writer')).toBeGreaterThan(0);
      expect(valueOf(`switchover, ${mode}, defaults`, 'failed writes')).toBe(0);
    }
  });

  it('serve measures reads of clients, HTTP, and published changes', { timeout: 240_000 }, async () => {
    const figures = await figuresOf('serve', '--rows', '500');
    const ways = ['balanced read', 'direct read', 'HTTP query'];
    const costs = ['processor time of the client per read', 'processor time of all others per read'];
    expect(names(figures)).toEqual([
      ...ways.flatMap((way) => [`${way}, one at a time: p50`, `${way}, one at a time: p99`]),
      ...ways.flatMap((way) => ['throughput', ...costs].map((metric) => `${way}, 64 in flight: ${metric}`)),
      'balancer: processor time per read, alone',
      'balancer: of the client per read, balanced − direct',
      ...['1 replica', '2 replicas', '3 replicas', '4 replicas'].map(
        (serving) => `balanced read, 64 in flight, of ${serving}: throughput`,
      ),
      'published changes, of what the log has: throughput',
      'published changes, while they are written: throughput',
      'published change, one at a time: write to subscriber, p50',
      'published change, one at a time: write to subscriber, p99',
    ]);
    // So few changes may be published between two looks.
    const measured = figures.filter(({ unit }) => unit === 'ms' || unit === 'reads/s');
    expect(measured.every(({ value }) => value > 0)).toBe(true);
  });

  const [postgres, galera] = [existsSync('/usr/lib/postgresql'), existsSync('/usr/lib/galera')];
  it.skipIf(!postgres && !galera)('sync --peers runs what is installed in the same run', async () => {
    const figures = names(await figuresOf('sync', '--rows', '1000', '--peers')).join('\n');
    const postgresql = /primary-replica \/ postgresql \d+, 64 writers: throughput/;
    const mariadb = /multi-primary \/ mariadb [\d.]+ galera, 64 writers on 3: throughput/;
    expect([postgresql.test(figures), mariadb.test(figures)]).toEqual([postgres, galera]);
  });

  it('refuses what it does not know', async () => {
    for (const args of [
      ['nothing'],
      [],
      ['bulk', '--rounds', 'x'],
      ['memory', '--peers'],
      ['bulk', '--soak', '1'],
      ['failover', '--soak', 'x'],
      ['bulk', '--frob'],
    ]) {
      const { code, stdout, stderr } = await run(...args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toContain('Usage: npm run bench');
    }
  });

  it('leaves nothing behind, also when it is interrupted', async () => {
    const before = leftovers();
    const child = spawn(process.execPath, [main, 'bulk'], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('warm-up')) resolve();
      });
    });
    const { stdout } = spawnSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' });
    const children = stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number));
    const pids = children.flatMap(([pid, parent]) =>
      pid !== undefined && parent === child.pid ? [pid] : [],
    );
    expect(pids.length).toBeGreaterThanOrEqual(8);
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGINT');
    await ended;
    expect(pids.filter(isAlive)).toEqual([]);
    expect(leftovers()).toEqual(before);
  });
});

function leftovers(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('antiphon-bench-'));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
