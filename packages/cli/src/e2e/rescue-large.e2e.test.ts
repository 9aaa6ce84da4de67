import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { antiphon, PATIENCE_MS, sqlite3, temporaryFolder } from './antiphon.js';

/** What is written is sent after an hour. */
const OPTIONS = {
  cluster: 'shop',
  topology: { mode: 'primary-replica', primary: 'a' },
  failover: { mode: 'manual' },
  update: { mode: 'async', intervalMs: 3_600_000 },
} as const;
const ROWS = `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v);
  INSERT INTO t VALUES ('old', CAST(x'fe' || zeroblob(500000) AS TEXT)), ('gone', zeroblob(1500000))`;
/** Values and a key of more than a message. */
const LARGE = [
  "INSERT INTO t VALUES ('blob', randomblob(2000000))",
  "INSERT INTO t VALUES ('text', CAST(x'ff' || randomblob(2000000) AS TEXT))",
  "INSERT INTO t VALUES (replace(hex(zeroblob(600000)), '0', 'k'), 'it''s')",
  "UPDATE t SET v = CAST(x'fd' || v AS TEXT) WHERE id = 'old'",
  "DELETE FROM t WHERE id = 'gone'",
];
const DIGEST = 'SELECT id, typeof(v), hex(CAST(v AS BLOB)) FROM t ORDER BY id';

it.each([64 * 1024, 1024 * 1024])(
  'I10: rows larger than a message of %i bytes come out of a rescue ledger, and it can be emptied',
  async (maxPayload) => {
    const folder = temporaryFolder();
    const file = (id: string): string => join(folder.path, `${id}.db`);
    const server = await NatsServer.start({ storeDir: join(folder.path, 'nats'), maxPayload });
    sqlite3(file('a'), ROWS);
    const start = (id: string) =>
      createReplica({ ...OPTIONS, id, servers: server.url, store: sqlite({ file: file(id) }) });
    const [a, b] = [await start('a'), await start('b')];
    try {
      await eventually('b has the rows', () => b.status().lifecycle === 'following', {
        timeoutMs: PATIENCE_MS,
      });
      await a.execute(LARGE.map((sql) => ({ sql })));
      sqlite3(file('a'), `VACUUM INTO '${file('as-it-was')}'`);
      await b.takeOver();
      await eventually('a has a ledger', () => a.status().rescued === 1 && a.status().role !== 'primary');

      const ask = (...args: string[]) =>
        antiphon(['rescue', ...args, '--cluster', 'shop', '--servers', server.url], { cwd: folder.path });
      const shown = await ask('show', '1');
      expect(shown.stdout).toContain('insert t blob');
      expect(shown.stdout).toMatch(/insert t k+… \(1200000 in all\)/);
      expect(shown.stdout).toContain('"length":2000001,"tag":"raw-text"');

      const sql = await ask('export', '1', '--sql');
      expect(sql).toMatchObject({ code: 0, stderr: '' });
      sqlite3(file('again'), ROWS);
      execFileSync('sqlite3', ['-bail', file('again')], { input: sql.stdout });
      const rows = (id: string) => execFileSync('sqlite3', [file(id), DIGEST], { maxBuffer: 2 ** 28 });
      expect(rows('again').equals(rows('as-it-was'))).toBe(true);
      const lines = (await ask('export', '1')).stdout.trimEnd().split('\n');
      expect(lines.map((line) => (JSON.parse(line) as { op: string }).op)).toEqual([
        ...['insert', 'insert', 'insert', 'update', 'delete'],
      ]);

      const refused = await ask('reapply', '1');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain('`antiphon rescue export ID --sql`');
      expect(await ask('dismiss', '1', '--yes')).toMatchObject({ code: 0 });
      expect(a.status().rescued).toBe(0);
    } finally {
      await Promise.all([a.close(), b.close()]);
      await server.stop();
      folder.remove();
    }
  },
);
