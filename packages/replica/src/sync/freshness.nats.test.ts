import { DatabaseSync } from 'node:sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
let program: DatabaseSync | undefined;
afterEach(async () => {
  program?.close();
  program = undefined;
  await fixture[Symbol.asyncDispose]();
});

const topology = { mode: 'primary-replica', primary: 'a' } as const;
const SQL = 'SELECT max(id) AS id FROM t';

async function pair(): Promise<{ readonly a: SqliteReplica; readonly b: SqliteReplica }> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  return { a: await fixture.replica('a', { topology }), b: await fixture.replica('b', { topology }) };
}

async function write(a: SqliteReplica, id: number): Promise<void> {
  await a.execute([{ sql: 'INSERT INTO t VALUES (?)', params: [id] }]);
  await eventually('it is in the log', () => a.status().outbox.unpublished === 0);
}

describe('I12: bounded reads', () => {
  it('show what the log holds, as soon as it does', async () => {
    const { a, b } = await pair();
    for (let id = 1; id <= 20; id++) {
      await write(a, id);
      const rows = await b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1 });
      expect(rows).toEqual([{ id: BigInt(id) }]);
    }
  });

  it('wait for a replica that is behind, and end with the reason when that takes too long', async () => {
    const { a, b } = await pair();
    await write(a, 1);
    await b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1 });
    program = new DatabaseSync(fixture.file('b'));
    program.exec('BEGIN IMMEDIATE');
    await write(a, 2);
    expect(await b.query(SQL)).toEqual([{ id: 1n }]);
    const late = b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1, timeoutMs: 300 });
    await expect(late).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/what the log held within the last 1 ms/) as string,
    });
    const patient = b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1, timeoutMs: 20_000 });
    program.exec('COMMIT');
    expect(await patient).toEqual([{ id: 2n }]);
  });

  it('go by what was seen of the log before: without it only as long as the bound allows', async () => {
    const { a, b } = await pair();
    await write(a, 1);
    await b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1 });
    await fixture.server.stop();
    await eventually('b has noticed', () => b.status().connection !== 'connected');
    expect(await b.query(SQL, [], { consistency: 'bounded', maxLagMs: 60_000 })).toEqual([{ id: 1n }]);
    const bound = b.query(SQL, [], { consistency: 'bounded', maxLagMs: 1, timeoutMs: 2000 });
    await expect(bound).rejects.toMatchObject({
      code: expect.stringMatching(/LOG_UNAVAILABLE|TIMEOUT/) as string,
    });
  });

  it.each([undefined, 0, -1, NaN, '5'])('need a bound: %s is none', async (maxLagMs) => {
    const { b } = await pair();
    const options = { consistency: 'bounded', maxLagMs } as unknown as { consistency: 'bounded' };
    await expect(b.query(SQL, [], options)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(b.query(SQL, [], { maxLagMs: 5 })).rejects.toThrow("needs consistency 'bounded'");
  });
});
