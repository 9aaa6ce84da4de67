import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eventually } from '@antiphon/testing';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { expectCode } from '../test/pair.js';
import { openDatabase } from './driver/find-driver.js';
import { Reader } from './reader.js';
import { ReadingPause } from './reading-pause.js';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';
const folder = mkdtempSync(join(tmpdir(), 'antiphon-reader-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function database(value: number): string {
  const file = join(folder, `${++files}.db`);
  const db = openDatabase(file);
  db.exec(`PRAGMA journal_mode = WAL; CREATE TABLE t (v); INSERT INTO t VALUES (${value})`);
  db.close();
  return file;
}

const readers: Reader[] = [];
afterEach(() => Promise.all(readers.splice(0).map((reader) => reader.close())));

function open(file: string, most = 1): Reader {
  const reader = new Reader({ file, most, kept: 1 });
  readers.push(reader);
  return reader;
}

function query(reader: Reader, sql: string, signal?: AbortSignal) {
  return reader.read({ type: 'query', sql, parameters: [], maxRows: 10, maxBytes: 1000 }, signal);
}

async function valueOf(reader: Reader): Promise<unknown> {
  return (await query(reader, 'SELECT v FROM t')).result.rows[0]?.[0];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('reads that overlap without a pause', () => {
  const LIMIT = 1024 * 1024;
  /** A tenth of a second each, or some. */
  const LONG =
    'SELECT count(*) FROM t, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n)';

  /** How large the write-ahead log is after 20 MB were written, with reads meanwhile. */
  async function logBytes(logLimitBytes: number): Promise<number> {
    const file = database(1);
    const reader = new Reader({ file, most: 4, kept: 4, logLimitBytes });
    readers.push(reader);
    const writer = openDatabase(file);
    writer.exec(
      `PRAGMA synchronous = OFF; PRAGMA journal_size_limit = ${LIMIT}; CREATE TABLE w (id INTEGER PRIMARY KEY, v)`,
    );
    let isOver = false;
    const reading = Array.from({ length: 8 }, async () => {
      while (!isOver) await query(reader, LONG);
    });
    for (let writes = 0; writes < 400; writes++) {
      writer.exec('INSERT OR REPLACE INTO w SELECT abs(random()) % 50, randomblob(50000)');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    isOver = true;
    await Promise.all(reading);
    const { size } = statSync(`${file}-wal`);
    writer.close();
    return size;
  }

  it('let SQLite begin its write-ahead log anew', { timeout: 60_000 }, async () => {
    expect(await logBytes(Infinity)).toBeGreaterThan(10 * LIMIT);
    expect(await logBytes(LIMIT)).toBeLessThan(10 * LIMIT);
  });

  it('wait meanwhile, also where many more come', { timeout: 60_000 }, async () => {
    const file = database(7);
    const reader = new Reader({ file, most: 2, kept: 2, logLimitBytes: 1000 });
    readers.push(reader);
    const writer = openDatabase(file);
    const enough = new AbortController();
    const endless = expectCode(query(reader, ENDLESS, enough.signal), 'ABORTED');
    // The process that reads is there.
    await valueOf(reader);
    writer.exec('CREATE TABLE w (v); INSERT INTO w SELECT randomblob(100000)');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const answers: Promise<unknown>[] = [];
    for (let turn = 0; turn < 15; turn++) {
      answers.push(...Array.from({ length: 100 }, () => valueOf(reader)));
      await immediate();
    }
    expect(new Set(await Promise.all(answers))).toEqual(new Set([7n]));
    enough.abort();
    await endless;
    writer.close();
  });

  it('wait for nothing where nobody writes, and by any name of the file', { timeout: 60_000 }, async () => {
    const file = database(7);
    const name = join(folder, 'link.db');
    symlinkSync(file, name);
    const writer = openDatabase(file);
    writer.exec('CREATE TABLE w (v); INSERT INTO w SELECT randomblob(100000)');
    const pause = new ReadingPause(name, 1000);
    const lasting = async (): Promise<number> => {
      const sinceMs = performance.now();
      while (pause.isOn(true)) await immediate();
      return performance.now() - sinceMs;
    };
    expect(await lasting()).toBeGreaterThan(400);
    const later = performance.now() + 60_000;
    vi.spyOn(performance, 'now').mockImplementation(() => later);
    expect(pause.isOn(true), 'of no use').toBe(false);
    vi.spyOn(performance, 'now').mockImplementation(() => later + 60_000);
    writer.exec('INSERT INTO w SELECT randomblob(100000)');
    expect(pause.isOn(true), 'it has grown').toBe(true);
    // A pause of no use, after which the log is begun anew and grows again.
    vi.spyOn(performance, 'now').mockImplementation(() => later + 70_000);
    expect(pause.isOn(true)).toBe(false);
    writer.exec('PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO w SELECT randomblob(1000)');
    vi.spyOn(performance, 'now').mockImplementation(() => later + 1_000_000);
    expect(pause.isOn(true), 'not larger than it was').toBe(true);
    vi.restoreAllMocks();
    writer.close();
  });

  it('do not wait where the log cannot be looked at', () => {
    const pause = new ReadingPause(join(database(7), 'no-folder'), 0);
    expect(pause.isOn(true)).toBe(false);
  });
});

describe('a reading process', () => {
  it('is one for one read after the other, and another one only while the first is busy', async () => {
    const reader = open(database(7), 2);
    expect(await valueOf(reader)).toBe(7n);
    const [first] = reader.pids;
    for (let n = 0; n < 20; n++) await valueOf(reader);
    expect(reader.pids).toEqual([first]);
    const enough = new AbortController();
    const endless = expectCode(query(reader, ENDLESS, enough.signal), 'ABORTED');
    expect(await valueOf(reader)).toBe(7n);
    expect(reader.pids).toHaveLength(2);
    enough.abort();
    await endless;
  });

  it('gets help while it is busy, however many more reads come', async () => {
    const reader = open(database(7), 2);
    await valueOf(reader);
    const enough = new AbortController();
    const endless = expectCode(query(reader, ENDLESS, enough.signal), 'ABORTED');
    let answered = 0;
    const more = setInterval(
      () =>
        void valueOf(reader).then(
          () => answered++,
          () => undefined,
        ),
      5,
    );
    try {
      await eventually('they are answered', () => answered > 20);
    } finally {
      clearInterval(more);
      enough.abort();
    }
    await endless;
  });

  it('starts, however soon those give up who wait for it', async () => {
    const reader = open(database(7));
    const pids = new Set<number>();
    for (let n = 0; n < 5; n++) {
      const read = query(reader, 'SELECT v FROM t', AbortSignal.timeout(1));
      // Once it has started, it may be faster than that.
      if (n === 0) await expectCode(read, 'ABORTED');
      else await read.catch(() => undefined);
      for (const pid of reader.pids) pids.add(pid);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(await valueOf(reader)).toBe(7n);
    for (const pid of reader.pids) pids.add(pid);
    // One that is up and slow, as on a busy machine, is ended; one that starts is not.
    expect(pids.size).toBeLessThan(4);
  });

  it('that is killed costs its read only, with an error that says so', async () => {
    const reader = open(database(7));
    await valueOf(reader);
    const [pid = 0] = reader.pids;
    const endless = expectCode(query(reader, ENDLESS), 'STORE_FAILED', /SIGKILL.*next read starts another/);
    const next = valueOf(reader);
    // They are sent at the end of this turn.
    await immediate();
    process.kill(pid, 'SIGKILL');
    await endless;
    expect(await next).toBe(7n);
  });

  it('gets many short reads at once, and one among them that is given up costs no other', async () => {
    const reader = open(database(7));
    for (let n = 0; n < 50; n++) await valueOf(reader);
    const [pid] = reader.pids;
    const enough = new AbortController();
    const reading = Array.from({ length: 40 }, (_, turn) =>
      turn === 20 ? query(reader, ENDLESS, enough.signal) : valueOf(reader),
    );
    const settled = Promise.allSettled(reading);
    await Promise.all(reading.slice(0, 20));
    enough.abort();
    const failed = (await settled).flatMap((one, turn) => (one.status === 'rejected' ? [turn] : []));
    expect(failed).toEqual([20]);
    expect(reader.pids).not.toContain(pid);
  });

  it('that takes long over one read leaves those behind it to another one', async () => {
    const reader = open(database(7), 2);
    for (let n = 0; n < 50; n++) await valueOf(reader);
    const enough = new AbortController();
    // They go together.
    const first = valueOf(reader);
    const endless = expectCode(query(reader, ENDLESS, enough.signal), 'ABORTED');
    const behind = Array.from({ length: 10 }, () => valueOf(reader));
    expect(await Promise.all([first, ...behind])).toEqual(Array.from({ length: 11 }, () => 7n));
    expect(reader.pids).toHaveLength(2);
    enough.abort();
    await endless;
    await eventually('one process is left', () => reader.pids.length === 1);
    expect(await valueOf(reader)).toBe(7n);
  });

  it('that is killed with several reads costs the one that it was at', async () => {
    const reader = open(database(7));
    for (let n = 0; n < 50; n++) await valueOf(reader);
    const [pid = 0] = reader.pids;
    const first = valueOf(reader);
    const endless = expectCode(query(reader, ENDLESS), 'STORE_FAILED', /SIGKILL/);
    const behind = Array.from({ length: 10 }, () => valueOf(reader));
    await first;
    process.kill(pid, 'SIGKILL');
    await endless;
    expect(await Promise.all(behind)).toEqual(Array.from({ length: 10 }, () => 7n));
  });

  it('is gone after an abort, and its successor is there before the next read', async () => {
    const reader = open(database(7));
    await valueOf(reader);
    const [pid = 0] = reader.pids;
    await expectCode(query(reader, ENDLESS, AbortSignal.timeout(50)), 'ABORTED');
    await eventually('the process has ended', () => !isAlive(pid));
    await eventually('one process is left', () => reader.pids.length === 1);
    expect(await valueOf(reader)).toBe(7n);
  });

  it('reads the file that is there now', async () => {
    const file = database(1);
    const reader = open(file);
    expect(await valueOf(reader)).toBe(1n);
    renameSync(database(2), file);
    expect(await valueOf(reader)).toBe(2n);
    rmSync(file);
    await expectCode(valueOf(reader), 'STORE_UNAVAILABLE');
    renameSync(database(3), file);
    expect(await valueOf(reader)).toBe(3n);
  });

  it.each(['idle', 'busy'])('does not outlive a parent that is killed while it is %s', async (what) => {
    const program = join(folder, `parent-${what}.mjs`);
    const built = fileURLToPath(new URL('../dist/reader.js', import.meta.url));
    const sql = what === 'busy' ? ENDLESS : 'SELECT 1';
    writeFileSync(
      program,
      `import { Reader } from ${JSON.stringify(built)};
       const reader = new Reader({ file: ${JSON.stringify(database(1))}, most: 1, kept: 1 });
       const request = { type: 'query', sql: ${JSON.stringify(sql)}, parameters: [], maxRows: 1, maxBytes: 100 };
       const reading = reader.read(request);
       if (${what === 'idle'}) await reading;
       setImmediate(() => console.log(reader.pids[0]));
       setInterval(() => undefined, 1000);`,
    );
    const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await firstNumber(parent);
    expect(isAlive(pid)).toBe(true);
    // The watching thread of a busy one has to be there.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    parent.kill('SIGKILL');
    // It may only just have started, and looks once it has.
    await eventually('the process has ended', () => !isAlive(pid));
  });

  it('lets a program end that has nothing else to do', async () => {
    const program = join(folder, 'ends.mjs');
    const built = fileURLToPath(new URL('../dist/reader.js', import.meta.url));
    writeFileSync(
      program,
      `import { Reader } from ${JSON.stringify(built)};
       const reader = new Reader({ file: ${JSON.stringify(database(1))}, most: 1, kept: 1 });
       const request = { type: 'query', sql: 'SELECT v FROM t', parameters: [], maxRows: 1, maxBytes: 100 };
       await reader.read(request);
       console.log(reader.pids[0]);`,
    );
    const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = new Promise((resolve) => parent.once('exit', resolve));
    const pid = await firstNumber(parent);
    expect(await exited).toBe(0);
    await eventually('the process has ended', () => !isAlive(pid), 5000);
  });
});

async function firstNumber(parent: ChildProcess): Promise<number> {
  for await (const chunk of parent.stdout ?? []) return Number(String(chunk));
  throw new Error('it said nothing');
}
