import { remoteRef } from '@antiphon/actor';
import { mailboxPrefix } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import type { MailboxProtocol } from '../service/mailbox-protocol.js';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import { revivedConflicts, type ShownConflict } from './kept-conflicts.js';

/** A key, a text that is not UTF-8 and a wide row, each of more than a message. */
const LONG = 200_000;
const COLUMNS = Array.from({ length: 400 }, (_, n) => `a_column_${'of_a_table_that_is_wide_'.repeat(4)}${n}`);
const SCHEMA = `CREATE TABLE raw (id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE keyed (id TEXT PRIMARY KEY, v TEXT);
  CREATE TABLE wide (id INTEGER PRIMARY KEY, ${COLUMNS.join(', ')})`;

const writes = (name: string, byte: string) => [
  `INSERT OR REPLACE INTO raw VALUES (1, CAST(CAST(x'${byte}' || zeroblob(${LONG}) AS BLOB) AS TEXT))`,
  `INSERT OR REPLACE INTO keyed VALUES (replace(hex(zeroblob(${LONG / 2})), '0', 'k'), '${name}')`,
  `INSERT OR REPLACE INTO wide (id, ${COLUMNS.join(', ')}) VALUES (1, ${COLUMNS.map(() => `'${name.repeat(60)}'`).join(', ')})`,
];

it('a page of the conflicts fits into a message, whatever is in their rows', async () => {
  await using fixture = await ClusterFixture.start('shop', { maxPayload: 128 * 1024 });
  fixture.sql('a', SCHEMA);
  const update = { mode: 'async', intervalMs: 1000 } as const;
  const a = await fixture.replica('a', { update });
  const b = await fixture.replica('b', { update });
  await Promise.all([a.caughtUp(), b.caughtUp()]);
  const write = (replica: SqliteReplica, byte: string) =>
    replica.execute(writes(replica.id, byte).map((sql) => ({ sql })));
  await eventually('both have written at once', async () => {
    await Promise.all([write(a, 'fe'), write(b, 'ff')]);
    await Promise.all([a.caughtUp(), b.caughtUp()]);
    return a.status().conflicts > 0 && b.status().conflicts > 0;
  });
  const bus = (await fixture.nats()).bus();
  const mailbox = remoteRef<MailboxProtocol>(bus, mailboxPrefix(fixture.cluster, 'a'));
  const pages: number[] = [];
  const found: ShownConflict[] = [];
  for (let query = {}; ;) {
    const { conflicts, more } = revivedConflicts(await mailbox.ask('conflicts', query));
    found.push(...conflicts);
    pages.push(conflicts.length);
    if (!more) break;
    query = { beforeId: conflicts.at(-1)?.id };
  }
  expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
  expect(new Set(found.map(({ table }) => table))).toEqual(new Set(['raw', 'keyed', 'wide']));
  const of = (name: string) => found.find(({ table }) => table === name);
  const raw = of('raw');
  for (const row of [raw?.kept, raw?.lost, raw?.here])
    expect(row).toMatchObject([1n, { length: LONG + 1, tag: 'raw-text' }]);
  const key = { start: 'k'.repeat(200), length: LONG };
  expect(of('keyed')).toMatchObject({ key: [key], kept: [key, expect.any(String)] });
  const wide = of('wide');
  expect(wide?.columns[0]).toBe('id');
  expect((wide?.columns.length ?? 0) + (wide?.moreColumns ?? 0)).toBe(1 + COLUMNS.length);
  expect(wide?.moreColumns).toBeGreaterThan(0);
  expect(wide?.kept?.length).toBe(wide?.columns.length);
});
