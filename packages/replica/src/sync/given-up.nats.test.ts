import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

const SCHEMA = `
  CREATE TABLE t (id INTEGER PRIMARY KEY);
  CREATE TABLE mine (id INTEGER PRIMARY KEY);
`;
/** More than lie between the run of a function and the sending of its group. */
const DEPTHS = Array.from({ length: 16 }, (_, depth) => depth);

/** So many promises later, while nothing but promises is under way. */
function later(depth: number, happens: () => void): void {
  let turn = Promise.resolve();
  for (let n = 0; n < depth; n++) turn = turn.then(() => undefined);
  void turn.then(happens);
}

/** What the caller of an insert is told; `during` is called within its function. */
async function told(
  replica: SqliteReplica,
  table: string,
  id: number,
  { during, signal }: { readonly during: () => void; readonly signal?: AbortSignal },
): Promise<string> {
  const insert = (tx: SqliteTransaction): void => {
    tx.run(`INSERT INTO ${table} VALUES (?)`, [id]);
    during();
  };
  try {
    return (await replica.transaction(insert, { ...(signal && { signal }) })).outcome;
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}

function idsIn(cluster: ClusterFixture, id: string, table: string): readonly number[] {
  const db = new DatabaseSync(cluster.file(id), { readOnly: true });
  try {
    return db
      .prepare(`SELECT id FROM ${table} ORDER BY id`)
      .all()
      .map((row) => Number(row['id']));
  } finally {
    db.close();
  }
}

describe.each(['async', 'sync'] as const)('I8: a write with %s updates', (mode) => {
  const update = mode === 'sync' ? ({ mode, minInSync: 1 } as const) : ({ mode } as const);
  const options = { update, tables: ['t'] };

  it.each(['t', 'mine'])(
    'to %s that is given up as its function has run is answered as it ends',
    async (table) => {
      await using cluster = await ClusterFixture.start();
      cluster.sql('a', SCHEMA);
      const a = await cluster.replica('a', options);
      const answers: string[] = [];
      for (const depth of DEPTHS) {
        const giveUp = new AbortController();
        const during = (): void => later(depth, () => giveUp.abort());
        answers.push(await told(a, table, depth, { during, signal: giveUp.signal }));
      }
      expect(answers).toEqual(DEPTHS.map(() => 'committed'));
      expect(idsIn(cluster, 'a', table)).toEqual(DEPTHS);
    },
  );

  it.each(['t', 'mine'])('to %s is answered truly when its replica closes just then', async (table) => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const wrong: unknown[] = [];
    for (const depth of DEPTHS) {
      const a = await cluster.replica('a', options);
      let closing: Promise<void> | undefined;
      const during = (): void => later(depth, () => void (closing ??= a.close()));
      const answer = await told(a, table, depth, { during });
      await (closing ??= a.close());
      const isThere = idsIn(cluster, 'a', table).includes(depth);
      if (isThere !== (answer === 'committed')) wrong.push({ depth, answer, isThere });
    }
    expect(wrong).toEqual([]);
  });
});
