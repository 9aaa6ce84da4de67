import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { defaultExpression } from './default-value.js';

const DEFAULTS = [
  `"en"`,
  `""`,
  `"a ""b"" 'c'"`,
  `[en]`,
  '`e``n`',
  'active',
  'null',
  'TRUE',
  `"true"`,
  'current_date',
  '7',
  '0x1F',
  '1e3',
  '.5',
  '-1',
  `'it''s'`,
  `'"x"'`,
  `x'00ff'`,
  `('en' -- english\n)`,
  `(1 + 1 /* two */)`,
  `(lower('A'))`,
];

it.each(DEFAULTS)('is in any place what the column gets: DEFAULT %s', (sql) => {
  const db = new DatabaseSync(':memory:');
  db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, active, v DEFAULT ${sql}); INSERT INTO t (id) VALUES (1)`);
  const shown = db.prepare("SELECT dflt_value AS d FROM pragma_table_info('t') WHERE name = 'v'").get();
  const expression = defaultExpression(String(shown?.['d']));
  const compared = db.prepare(
    `SELECT typeof(v) = typeof(${expression}) AND v IS ${expression} AS same FROM t`,
  );
  expect(compared.get()).toEqual({ same: 1 });
});
