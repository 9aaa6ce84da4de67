import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { remoteRef } from '@antiphon/actor';
import { type Candidacy, mailboxPrefix, type Topology } from '@antiphon/core';
import type { NatsHandle } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../config/logger.js';
import type { PeerProtocol } from '../state/peer.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture | undefined;
let disk: string | undefined;
afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
  if (disk !== undefined) execFileSync('umount', ['-l', disk]);
  disk = undefined;
});

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
/** Other programs are refused soon: what the library is refused for is the disk all the same. */
const failover = {
  ...{ leaseMs: 900, renewMs: 200, marginMs: 100, probeMs: 50, goneMs: 300, foreignLeaseMs: 1000 },
} as const;
const limits = { beatMs: 200 };
const MODES = [{ mode: 'async' }, { mode: 'sync', acks: 1 }] as const;

/** A file system of its own, of 8 MB; needs root. */
function mountSmallDisk(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dir], { stdio: 'pipe' });
  } catch {
    rmSync(dir, { recursive: true, force: true });
    return undefined;
  }
  disk = dir;
  return dir;
}

function fill(dir: string): void {
  for (const bytes of [65_536, 4096, 1])
    try {
      for (;;) appendFileSync(join(dir, 'ballast'), Buffer.alloc(bytes));
    } catch {
      // There is no room for more.
    }
}

function create(file: string): void {
  const database = new DatabaseSync(file);
  database.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  database.close();
}

function write(replica: SqliteReplica, id: number, timeoutMs = 20_000): Promise<unknown> {
  const statement = { sql: 'INSERT INTO t VALUES (?, hex(randomblob(30000)))', params: [id] };
  return replica.execute([statement], { timeoutMs });
}

describe.each(MODES)('a primary whose disk is full, %o', (update) => {
  it('I7: lets another one take over, follows when there is room, and is a candidate again then', async (context) => {
    const dir = mountSmallDisk();
    if (dir === undefined) return context.skip('cannot mount a tmpfs here (needs root)');
    fixture = await ClusterFixture.start();
    const file = join(dir, 'a.db');
    create(file);
    const a = await fixture.replica('a', { topology, failover, update, limits, file });
    const b = await fixture.replica('b', { topology, failover, update, limits });
    await write(a, 1);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1n'));
    fill(dir);
    const written: number[] = [];
    const failures: unknown[] = [];
    // Some fit into what SQLite has reserved.
    for (let id = 2; id < 80 && b.status().role !== 'primary'; id++)
      await write(b, id).then(
        () => written.push(id),
        (error: unknown) => failures.push(error),
      );
    expect(b.status()).toMatchObject({ role: 'primary', epoch: { why: 'failover' } });
    expect(failures).toEqual([]);
    await write(b, 100);
    await eventually('a says why', () =>
      a.status().alarms.some(({ name, message }) => name === 'store' && /full/.test(message)),
    );
    await eventually('it does not pass for the primary', () => {
      const { role, epoch, alarms } = a.status();
      return role === 'replica' && epoch?.primary === 'b' && alarms.every(({ name }) => name !== 'lease');
    });
    // Nobody else is there, and a cannot.
    await fixture.closeReplica('b');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(a.status().lifecycle).not.toBe('primary');
    expect(existsSync(join(dir, 'ballast'))).toBe(true);
    rmSync(join(dir, 'ballast'));
    await eventually('a takes over', () => a.status().lifecycle === 'primary', 20_000);
    await write(a, 101);
    const again = await fixture.replica('b', { topology, failover, update, limits });
    await eventually('both have the same', async () => (await rowsOf(a, 't')) === (await rowsOf(again, 't')));
    const rows = await again.query<{ id: number }>('SELECT id FROM t ORDER BY id', [], {
      integers: 'number',
    });
    expect(rows.map(({ id }) => id)).toEqual([1, ...written, 100, 101]);
    // Nothing was committed there that b had taken over meanwhile.
    expect(a.status().alarms.map(({ name }) => name)).toEqual([]);
  }, 90_000);

  it('goes on by itself when there is room again and nobody else could', async (context) => {
    const dir = mountSmallDisk();
    if (dir === undefined) return context.skip('cannot mount a tmpfs here (needs root)');
    fixture = await ClusterFixture.start();
    const file = join(dir, 'a.db');
    create(file);
    const logged: string[] = [];
    const logger = { ...silentLogger, warn: (_: object, text: string) => void logged.push(text) };
    const a = await fixture.replica('a', { topology, failover, update, limits, file, logger });
    fill(dir);
    const tried: Promise<unknown>[] = [];
    for (let id = 1; id < 40; id++) tried.push(write(a, id, 4000).catch((error: unknown) => error));
    await eventually('it says why', () => a.status().alarms.some(({ name }) => name === 'store'));
    await eventually('it has no lease', () => a.status().alarms.some(({ name }) => name === 'lease'));
    if (update.mode === 'async') expect(a.status().lifecycle).toBe('suspended');
    const errors = (await Promise.all(tried)).filter((result) => result instanceof Error);
    expect(errors.length).toBeGreaterThan(0);
    expect(logged.filter((text) => text.includes('Nobody waited'))).toEqual([]);
    // In a synchronous cluster, one is in the log, and the others have waited for it.
    for (const { message } of update.mode === 'async' ? errors : []) expect(message).toMatch(/full/);
    rmSync(join(dir, 'ballast'));
    await write(a, 100);
    await eventually('it is the primary', () => a.status().lifecycle === 'primary');
    await eventually('no alarm is left', () => a.status().alarms.length === 0);
    expect(a.status()).toMatchObject({ epoch: { number: 1 } });
  }, 60_000);
});

describe.each(MODES)('a candidate whose disk is full, %o', (update) => {
  it('says so when it is asked, although nothing was written there, and another one is elected', async (context) => {
    const dir = mountSmallDisk();
    if (dir === undefined) return context.skip('cannot mount a tmpfs here (needs root)');
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
    const options = { topology, failover, update, limits: { beatMs: 60_000 } } as const;
    let nats: NatsHandle | undefined;
    const around = { connected: (handle: NatsHandle) => void (nats = handle) };
    const a = await fixture.replicaWith(around, 'a', { ...options, limits: { closeTimeoutMs: 500 } });
    const file = join(dir, 'b.db');
    const b = await fixture.replica('b', { ...options, file, limits });
    const c = await fixture.replica('c', options);
    await write(a, 1);
    for (const replica of [b, c])
      await eventually('all have it', async () => (await rowsOf(replica, 't')).includes('1n'));
    const bus = (await fixture.nats()).bus();
    const ask = (id: string): Promise<Candidacy> =>
      remoteRef<PeerProtocol>(bus, mailboxPrefix('shop', id), { timeoutMs: 5000 }).ask('candidacy');
    const before = await ask('b');
    expect(before).toMatchObject({ eligible: true });
    fill(dir);
    await eventually('it says why', async () => /full/.test((await ask('b')).why ?? ''));
    expect(await ask('c')).toMatchObject({ eligible: true });
    // Nobody says that it leaves.
    await nats?.close();
    await eventually('c is the primary', () => c.status().role === 'primary');
    expect(c.status().epoch).toMatchObject({ number: 2, primary: 'c', why: 'failover' });
    rmSync(join(dir, 'ballast'));
    await write(c, 2);
    await eventually('b has it', async () => (await rowsOf(b, 't')).includes('2n'), 20_000);
    await eventually('b is a candidate', async () => (await ask('b')).eligible);
  }, 60_000);
});
