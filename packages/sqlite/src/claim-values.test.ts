import { claimOf, type Value } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { comparedValue, type Comparison } from './claim-values.js';
import { openDatabase } from './driver/find-driver.js';
import type { Database, SqliteValue } from './driver/driver.js';
import { HeldValues } from './held-values.js';
import type { Affinity } from './local-table.js';

const NUMBERS: readonly SqliteValue[] = [
  ...[0n, 1n, 5n, 0, -0, 1, 5, -5, 1.5, 0.1, 0.1 + 0.2, 1 / 3, 2 / 3, 1e-7, 5e-324, 1.7976931348623157e308],
  ...[1e15, 1e16, 123456789012345680, 1e18, 1e19, 1e20, 1e21, 1e300, Infinity, -Infinity, 2 ** 63],
  ...[-(2 ** 63), 9007199254740993n, 123456789012345680n, 2n ** 63n - 1n, -(2n ** 63n)],
];
const NUMERIC_TEXTS: readonly SqliteValue[] = [
  ...[
    '0',
    '1',
    '5',
    '5.0',
    ' 5',
    '5 ',
    '5\n',
    '\t5',
    '\v5',
    '5\f',
    '+5',
    '05',
    '5e0',
    '.5',
    '5.',
    '0.0',
    '-0.0',
  ],
  ...['0.1', '0.3', '0.30000000000000004', '0.333333333333333', '0.33333333333333332', '1e-7', '1.0e-07'],
  ...[
    '1e16',
    '10000000000000000.0',
    '1.0e+16',
    '1.0e+21',
    '1.23456789012346e+17',
    '1e400',
    '-1e400',
    '1e-400',
  ],
  ...['9223372036854775807', '9223372036854775808', '9223372036854775807.0', '1234567890123456789.5'],
  ...['3018488321060395662903.947735609e-19', '301.8488321060395662903947735609'],
];
const OTHERS: readonly SqliteValue[] = [
  ...[
    '',
    ' ',
    'a',
    'A',
    'a ',
    'A ',
    'ä',
    'Ä',
    'a\0b',
    'a\0c',
    'A\0b',
    'a\0',
    'inf',
    'Inf',
    '-Inf',
    'INF',
    'nan',
  ],
  ...[
    '0x5',
    '5e',
    '5e+',
    '1_0',
    '½',
    '٥',
    '\u00a05',
    '5\u00a0',
    '\ufeff5',
    '\u20035',
    '5\0',
    '5\0x',
    '5 \0',
    '\x005',
  ],
  ...[new Uint8Array([53]), new Uint8Array([97]), new Uint8Array([])],
];
const VALUES = [...NUMBERS, ...NUMERIC_TEXTS, ...OTHERS];
const DECLARED: readonly (readonly [affinity: Affinity, type: string])[] = [
  ...([['integer', 'INT'] as const, ['real', 'REAL'] as const, ['numeric', 'NUMERIC'] as const] as const),
  ...([['text', 'TEXT'] as const, ['none', 'BLOB'] as const] as const),
];
const COLLATIONS = ['BINARY', 'NOCASE', 'RTRIM'];
const COLUMNS = DECLARED.flatMap(([affinity, type]) =>
  COLLATIONS.map((collation) => ({ affinity, collation, sql: `${type} COLLATE ${collation}` })),
);

const shown = (value: unknown): string =>
  value instanceof Uint8Array
    ? `x'${Buffer.from(value).toString('hex')}'`
    : `${typeof value} ${typeof value === 'string' ? JSON.stringify(value) : String(value)}`;

const claimed = (value: Value, comparison: Comparison): number =>
  claimOf('row', 't', [comparedValue(value, comparison)], 'exclusive');

/** What SQLite says, statement by statement, and the claims of both sides beside it. */
class Model {
  readonly wrong: string[] = [];
  pairs = 0;
  readonly db: Database = openDatabase(':memory:');

  [Symbol.dispose](): void {
    this.db.close();
  }

  takes(run: () => unknown): boolean {
    try {
      run();
      return true;
    } catch {
      return false;
    }
  }

  check(what: string, of: Comparison, one: Value, other: Value): void {
    this.pairs++;
    if (claimed(one, of) !== claimed(other, of))
      this.wrong.push(`${what}: ${shown(one)} and ${shown(other)}`);
  }
}

describe('what SQLite compares as equal has equal claims', () => {
  it.each(COLUMNS)(
    'in a unique index, and for a lock of a row of it: $sql',
    ({ affinity, collation, sql }) => {
      using model = new Model();
      const { db } = model;
      const held = new HeldValues();
      db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, c ${sql} UNIQUE)`);
      const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
      const read = db.prepare('SELECT c FROM t WHERE id = ?', 'exact value');
      const remove = db.prepare('DELETE FROM t WHERE id = ?');
      const of = { affinity, collation, loose: false };
      const asRow = VALUES.map((value) => {
        insert.run(1n, value);
        const row = read.get(1n) as Value;
        remove.run(1n);
        return row;
      });
      for (const [at, one] of VALUES.entries()) {
        model.check('lock', of, asRow[at] ?? null, held.of(one, affinity));
        insert.run(1n, one);
        for (const [to, other] of VALUES.entries()) {
          if (model.takes(() => insert.run(2n, other))) remove.run(2n);
          else model.check('unique', of, asRow[at] ?? null, asRow[to] ?? null);
        }
        remove.run(1n);
      }
      expect(model.wrong).toEqual([]);
      expect(model.pairs).toBeGreaterThan(2 * VALUES.length);
    },
  );

  // A child's value is compared as its parent's column would hold it.
  it.each(COLUMNS.filter(({ collation }) => collation !== 'RTRIM'))(
    'in a foreign key to $sql',
    ({ collation, sql }) => {
      using model = new Model();
      const { db } = model;
      db.exec(`PRAGMA foreign_keys = ON; CREATE TABLE p (c ${sql} UNIQUE)`);
      for (const [affinity, type] of DECLARED) {
        db.exec(`CREATE TABLE k (c ${type} REFERENCES p (c))`);
        const [intoParent, intoChild] = [
          db.prepare('INSERT INTO p VALUES (?)'),
          db.prepare('INSERT INTO k VALUES (?)'),
        ];
        const parent = db.prepare('SELECT c FROM p', 'exact value');
        const child = db.prepare('SELECT c FROM k', 'exact value');
        for (const one of VALUES) {
          intoParent.run(one);
          const row = parent.get() as Value;
          for (const other of VALUES) {
            if (!model.takes(() => intoChild.run(other))) continue;
            const of = { affinity: 'none', collation, loose: true } as const;
            model.check(`from ${affinity}`, of, row, child.get() as Value);
            db.exec('DELETE FROM k');
          }
          db.exec('DELETE FROM p');
        }
        db.exec('DROP TABLE k');
      }
      expect(model.wrong).toEqual([]);
      expect(model.pairs).toBeGreaterThan(VALUES.length);
    },
  );
});
