import { DatabaseSync } from 'node:sqlite';
import { type RescueChange, TaggedValue, type Row } from '@antiphon/core';
import { expect, it } from 'vitest';
import { changeSql } from './rescue-sql.js';

const VALUES: Row = [
  ...[1n, -(2n ** 63n), 5, -0, 0.1, Infinity, -Infinity, null, "it's", 'a\nb\0c', ''],
  ...[new Uint8Array([0, 255]), new TaggedValue('raw-text', new Uint8Array([255, 65]))],
];
const columns = VALUES.map((_, index) => `c "${index}`);
const change = (images: Pick<RescueChange, 'before' | 'after'>): string =>
  [...changeSql({ ...{ table: 't "1"', op: 'update', columns, key: [1n] }, ...images })].join('');

it('writes every value exactly as it was, and changes only what is as before', () => {
  const db = new DatabaseSync(':memory:');
  db.exec(`CREATE TABLE "t ""1""" (${columns.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')})`);
  const shown = (): unknown =>
    db
      .prepare(
        `SELECT ${columns.map((name) => `typeof("${name.replaceAll('"', '""')}") || quote(CAST("${name.replaceAll('"', '""')}" AS BLOB))`).join(" || ',' || ")} AS v FROM "t ""1"""`,
      )
      .get()?.['v'];
  db.exec(change({ after: VALUES }));
  const inserted = shown();
  const types = String(inserted).match(/integer|real|null|text|blob/g);
  expect(types).toEqual([
    ...['integer', 'integer', 'real', 'real', 'real', 'real', 'real', 'null', 'text', 'text', 'text'],
    ...['blob', 'text'],
  ]);
  expect(inserted).toContain("blobX'00FF',textX'FF41'");
  expect(inserted).toContain("textX'610A620063'");
  const changed = VALUES.map((value, index) => (index === 8 ? 'other' : value));
  expect(change({ before: VALUES, after: changed })).toMatch(
    /^UPDATE "t ""1""" SET "c ""8" = 'other' WHERE /,
  );
  db.exec(change({ before: changed, after: VALUES }));
  expect(shown(), 'it is not as before').toBe(inserted);
  db.exec(change({ before: VALUES, after: changed }));
  expect(shown()).not.toBe(inserted);
  db.exec(change({ before: VALUES }));
  expect(shown(), 'nor to be deleted').toBeDefined();
  db.exec(change({ before: changed }));
  expect(shown()).toBeUndefined();
  expect(change({ before: VALUES, after: VALUES })).toBe('');
});

it('compares texts byte by byte, whatever the collation of their column', () => {
  const db = new DatabaseSync(':memory:');
  db.exec('CREATE TABLE t (a TEXT COLLATE NOCASE, b TEXT COLLATE RTRIM)');
  db.exec("INSERT INTO t VALUES ('A', 'b ')");
  const of = { table: 't', op: 'update', columns: ['a', 'b'], key: [1n] } as const;
  const run = (before: Row): void => db.exec([...changeSql({ ...of, before })].join(''));
  run(['a', 'b ']);
  run(['A', new TaggedValue('raw-text', new Uint8Array([98]))]);
  expect(db.prepare('SELECT a FROM t').all()).toHaveLength(1);
  run(['A', 'b ']);
  expect(db.prepare('SELECT a FROM t').all()).toHaveLength(0);
});
