import { copyFileSync, existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { PreparedGroup, Store } from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const SYNC = { update: { mode: 'sync', acks: 'all', minInSync: 1 } } as const;
const ALONE = { topology: { mode: 'primary-replica', primary: 'r1' }, ...SYNC } as const;
const SEVERAL = { topology: { mode: 'multi-primary' }, ...SYNC } as const;

/** Where a process may be killed on the way of a group of kept rows. */
const POINTS = ['before it is made', 'before it is sent', 'once the log has it', 'once it is here'] as const;
type Point = (typeof POINTS)[number];
/** From these on, the others have the rows. */
const LOGGED: ReadonlySet<Point> = new Set(['once the log has it', 'once it is here']);

/** A process that is killed at a point: nothing comes after it, and its file stays what it was. */
class Death {
  readonly file: string;
  readonly happened: Promise<void>;
  point: Point | undefined;
  #happens: () => void = () => undefined;

  constructor(private readonly database: string) {
    this.file = `${database}-killed`;
    this.happened = new Promise((resolve) => (this.#happens = resolve));
  }

  async at(point: Point): Promise<void> {
    if (this.point !== point) return;
    for (const suffix of ['', '-wal'])
      if (existsSync(`${this.database}${suffix}`))
        copyFileSync(`${this.database}${suffix}`, `${this.file}${suffix}`);
    this.#happens();
    await new Promise(() => undefined);
  }

  store(): Store<SqliteTransaction> {
    const store = sqlite({ file: this.database });
    const prepare: typeof store.prepare = async (requests, options) => {
      if (this.keepsRows) await this.at('before it is made');
      const keepsRows = this.keepsRows;
      const group = await store.prepare(requests, options);
      if (group?.message === undefined || !keepsRows) return group;
      await this.at('before it is sent');
      return this.#group(group);
    };
    const apply: typeof store.apply = async (request) => {
      const own = request.steps.some((step) => step.type === 'transactions' && step.batch.origin === 'r1');
      if (own && this.keepsRows) await this.at('once the log has it');
      return store.apply(request);
    };
    return new Proxy(store, {
      get: (target, name) => {
        if (name === 'prepare') return prepare;
        if (name === 'apply') return apply;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  #group(group: PreparedGroup): PreparedGroup {
    const { writes, message } = group;
    return {
      ...{ writes, ...(message && { message }) },
      commit: async (position) => {
        await this.at('once the log has it');
        await group.commit(position);
        await this.at('once it is here');
      },
      rollback: () => group.rollback(),
    };
  }

  /** As others see it. */
  get keepsRows(): boolean {
    return keptIds(this.database).length > 0;
  }
}

function keptIds(file: string): readonly unknown[] {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return db
      .prepare('SELECT id FROM _antiphon_kept1')
      .all()
      .map(({ id }) => id);
  } catch {
    return [];
  } finally {
    db.close();
  }
}

async function uncaptured(replica: SqliteReplica, sql: string): Promise<void> {
  const triggers = await replica.query("SELECT name FROM sqlite_schema WHERE type = 'trigger'");
  const drops = triggers.map(({ name }) => `DROP TRIGGER ${String(name)}`).join('; ');
  await fixture.sqlWhenFree('r1', `${drops}; ${sql}`);
}

describe('kept rows, when the process that writes them again is killed', () => {
  it.each([
    ...POINTS.map((point) => [point, 'the primary', ALONE] as const),
    ['once the log has it', 'one of several writers', SEVERAL] as const,
  ])('I2: are written once, %s, on %s', async (point, _, options) => {
    fixture = await ClusterFixture.start();
    fixture.sql('r1', `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (9, 'known')`);
    const death = new Death(fixture.file('r1'));
    // It ends at its time limit: what was killed never goes on.
    const limits = { closeTimeoutMs: 500 };
    const killed = await fixture.replica('r1', { ...options, limits, store: death.store() });
    const r2 = await fixture.replica('r2', options);
    await r2.caughtUp();
    await uncaptured(
      killed,
      `INSERT INTO t VALUES (1, 'unseen'), (2, 'unseen'), (3, 'unseen'); DELETE FROM t WHERE id = 9`,
    );
    death.point = point;
    void killed.recapture('t', { deleteRows: true }).catch(() => undefined);
    await death.happened;
    await killed.close();

    const r1 = await fixture.replica('r1', { ...options, file: death.file });
    await r1.caughtUp();
    if (LOGGED.has(point)) {
      await vi.waitFor(() => expect(keptIds(death.file)).toEqual([]), 5000);
      expect(r1.status().alarms).toEqual([]);
      // Others have the rows, and go on with them.
      const writer = options === SEVERAL ? r2 : r1;
      await writer.execute([
        { sql: `UPDATE t SET v = 'acknowledged' WHERE id = 1` },
        { sql: 'DELETE FROM t WHERE id = 2' },
        { sql: `INSERT INTO t VALUES (9, 'again')` },
      ]);
      await r1.caughtUp();
    } else expect(r1.status().alarms).toMatchObject([{ name: 'kept' }]);
    const result = await r1.recapture('t');
    expect(result).toMatchObject({ writtenAgain: LOGGED.has(point) ? 0 : 4 });
    expect(result.notWritten).toBeUndefined();
    await r2.caughtUp();
    const expected = LOGGED.has(point)
      ? '[{"id":"1n","v":"acknowledged"},{"id":"3n","v":"unseen"},{"id":"9n","v":"again"}]'
      : '[{"id":"1n","v":"unseen"},{"id":"2n","v":"unseen"},{"id":"3n","v":"unseen"}]';
    expect(await rowsOf(r1, 't')).toBe(expected);
    await vi.waitFor(async () => expect(await rowsOf(r2, 't')).toBe(expected), 20_000);
    expect(r1.status().alarms).toEqual([]);
  });
});
