import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';

const PAGE = readFileSync(new URL('../../../docs/lost-log.md', import.meta.url), 'utf8');
const HOSTILE = ['plain', 'my "quoted" tr', `it's; -- here`, 'a %w %s\nline', 'DROP'];

let cluster = new Cluster();
afterEach(() => cluster.close());

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

it('the commands of way 4 make a replica an ordinary database again, whatever its triggers are called', async () => {
  cluster = new Cluster();
  const triggers = HOSTILE.map(
    (name, index) =>
      `CREATE TRIGGER ${quote(name)} AFTER INSERT ON ${quote(name)} BEGIN UPDATE ${quote(name)} SET n = ${index}; END`,
  );
  const tables = HOSTILE.map((name) => `CREATE TABLE ${quote(name)} (id TEXT PRIMARY KEY, n INTEGER)`);
  const ddl = `${[...tables, ...triggers].join(';\n')};`;
  cluster.shell('plain', ddl);
  const own = `SELECT count(*), group_concat(sql, '|') FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY name)`;
  const before = cluster.shell('plain', own);
  const store = await cluster.first('best', ddl);
  await store.close();
  expect(cluster.shell('best', own)).not.toBe(before);

  const [, commands = ''] = /\*\*4\. Keep a database.*?```sh\n(.*?)```/s.exec(PAGE) ?? [];
  expect(commands).toContain('sqlite3 new.db');
  const { path } = cluster.directory;
  const output = execFileSync('sh', ['-e', '-c', `exec 2>&1\n${commands}`], { cwd: path, encoding: 'utf8' });
  expect(output).toBe('');
  expect(cluster.shell('new', own)).toBe(before);
  expect(
    cluster.shell('new', `INSERT INTO plain VALUES ('a', 7); SELECT n FROM plain; PRAGMA integrity_check`),
  ).toBe('0\nok');
});
