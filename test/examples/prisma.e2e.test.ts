import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { expect, it } from 'vitest';
import { PrismaClient } from '../../examples/prisma/src/generated/client.ts';
import { ImmediateSqlite } from '../../examples/prisma/src/immediate-sqlite.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('examples/prisma: prints what its page shows', async () => {
  const args = ['--disable-warning=ExperimentalWarning', 'examples/prisma/src/start.ts'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const page = readFileSync(join(root, 'examples', 'prisma', 'README.md'), 'utf8');
  expect(stderr).toBe('');
  expect(stdout).toBe(/```text\n([^]*?)```/.exec(page)?.[1]);
});

it.each([
  ['the adapter as it is', PrismaBetterSqlite3, 'rejected'],
  ['the adapter of the example', ImmediateSqlite, 'fulfilled'],
])(
  'examples/prisma: a transaction that reads first, while another program writes: %s',
  async (_, Adapter, outcome) => {
    const folder = mkdtempSync(join(tmpdir(), 'antiphon-prisma-test-'));
    const file = join(folder, 'blog.db');
    const other = (sql: string): string =>
      execFileSync('sqlite3', [file, sql], { encoding: 'utf8', stdio: 'pipe' });
    const migration = 'examples/prisma/prisma/migrations/20261130120000_init/migration.sql';
    other(`PRAGMA journal_mode = WAL; ${readFileSync(join(root, migration), 'utf8')}`);
    other(`INSERT INTO Post (title) VALUES ('first')`);
    const prisma = new PrismaClient({ adapter: new Adapter({ url: `file:${file}`, timeout: 5000 }) });
    try {
      const viewing = prisma.$transaction(async (tx) => {
        const { views } = await tx.post.findUniqueOrThrow({ where: { id: 1 } });
        let wasFirst = true;
        try {
          other('UPDATE Post SET views = views + 10');
        } catch (error) {
          // It waits for the transaction, as it should.
          wasFirst = !String(error).includes('database is locked');
        }
        await tx.post.update({ where: { id: 1 }, data: { views: views + 1 } });
        return wasFirst;
      });
      const [settled] = await Promise.allSettled([viewing]);
      expect(settled.status).toBe(outcome);
      if (settled.status === 'fulfilled') expect(settled.value).toBe(false);
      else expect(settled.reason).toMatchObject({ code: 'P1008' });
      expect(await prisma.post.findMany({ select: { views: true } })).toEqual([
        { views: outcome === 'fulfilled' ? 1 : 10 },
      ]);
    } finally {
      await prisma.$disconnect();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
