import { afterEach, expect, it } from 'vitest';
import { Cluster, Directory } from '../test/cluster.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

function wide(columns: number, type: string): string {
  const names = Array.from({ length: columns - 1 }, (_, index) => `c${index} ${type}`);
  return `CREATE TABLE w (id TEXT PRIMARY KEY, ${names.join(', ')}, UNIQUE (c0));`;
}

async function expectEqual(rows: number): Promise<void> {
  const [a, b] = await Promise.all(['a', 'b'].map((name) => cluster.member(name).store.checksum()));
  expect(b!.tables).toEqual(a!.tables);
  expect(a!.tables).toMatchObject([{ table: 'w', rows }]);
}

it.each([
  { columns: 510, type: '' },
  { columns: 997, type: '' },
  { columns: 997, type: 'BLOB' },
  { columns: 997, type: 'TEXT' },
])(
  'replicates $columns columns of type "$type", also what other programs write',
  async ({ columns, type }) => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', `${wide(columns, type)} INSERT INTO w (id, c0, c5) VALUES ('1', 'x', 'y');`);
    await cluster.join('b');
    await cluster.synchronize();
    cluster.shell(
      'a',
      `UPDATE w SET c7 = 'z'; INSERT INTO w (id) VALUES ('2'); UPDATE w SET id = '3' WHERE id = '2';`,
    );
    cluster.shell('b', `INSERT OR REPLACE INTO w (id, c0, c${columns - 2}) VALUES ('4', 'x', 1.5);`);
    await cluster.synchronize();
    await expectEqual(2);
  },
);

it('claims rows of wide tables, and finds the net effect of triggers on them', async () => {
  cluster = new Cluster();
  const trigger = `CREATE TRIGGER tr AFTER INSERT ON w BEGIN UPDATE w SET c1 = 1 WHERE id = NEW.id; END;`;
  await cluster.first('a', wide(997, '') + trigger, { certified: true });
  await cluster.join('b', { certified: true });
  cluster.shell('a', `INSERT INTO w (id) VALUES ('1'); UPDATE w SET c2 = 1;`);
  await cluster.synchronize();
  await expectEqual(1);
});

it('names the limit for a table with more', async () => {
  const directory = new Directory();
  directory.shell('x', wide(998, ''));
  const store = sqlite({ file: directory.file('x') });
  const { tables } = await store.inspect();
  expect(tables[0]?.unsupported).toBe(
    'it has 998 columns, and 997 is the most that can be captured: split it',
  );
  await store.close();
  directory.remove();
});
