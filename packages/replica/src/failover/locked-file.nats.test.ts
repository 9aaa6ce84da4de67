import { DatabaseSync } from 'node:sqlite';
import type { Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
let program: DatabaseSync | undefined;
afterEach(async () => {
  program?.close();
  program = undefined;
  await fixture[Symbol.asyncDispose]();
});

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { leaseMs: 900, renewMs: 200, marginMs: 100, probeMs: 50, goneMs: 300 } as const;
const limits = { beatMs: 200 };

function lockAlarm(replica: SqliteReplica): string | undefined {
  return replica.status().alarms.find(({ name }) => name === 'lock')?.message;
}

function write(replica: SqliteReplica, id: number, timeoutMs = 20_000): Promise<unknown> {
  return replica.execute([{ sql: `INSERT INTO t VALUES (?, 'x')`, params: [id] }], { timeoutMs });
}

describe.each([{ mode: 'async' }, { mode: 'sync', acks: 1, foreignWrites: 'async' }] as const)(
  'a primary whose file is locked, %o',
  (update) => {
    it('I7: says so, stays the primary, and gives way to one that is made it by hand', async () => {
      fixture = await ClusterFixture.start();
      fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
      const a = await fixture.replica('a', { topology, failover, update, limits });
      const b = await fixture.replica('b', { topology, failover, update, limits });
      await write(a, 1);
      await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1n'));
      program = new DatabaseSync(fixture.file('a'));
      program.exec(`BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'of the other program')`);
      // Nobody writes through the library.
      await eventually('a says so', () => /write lock .*End the transaction/.test(lockAlarm(a) ?? ''));
      await expect(write(a, 3, 1500)).rejects.toMatchObject({
        code: expect.stringMatching(/BUSY|TIMEOUT/) as string,
      });
      expect(a.status()).toMatchObject({ role: 'primary', epoch: { number: 1 } });
      expect(a.status().alarms.map(({ name }) => name)).toEqual(['lock']);
      await b.takeOver();
      await write(b, 4);
      program.exec('COMMIT');
      await eventually('a follows', async () => (await rowsOf(a, 't')).includes('4n'));
      await eventually('both have the same', async () => (await rowsOf(a, 't')) === (await rowsOf(b, 't')));
      expect(await rowsOf(b, 't')).not.toContain('other program');
      expect((await a.rescue.list()).transactions).toMatchObject([{ state: 'kept', tables: ['t'] }]);
      expect(lockAlarm(a)).toBeUndefined();
    }, 60_000);

    it('goes on by itself when the other program ends its transaction', async () => {
      fixture = await ClusterFixture.start();
      fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
      const a = await fixture.replica('a', { topology, failover, update, limits });
      const b = await fixture.replica('b', { topology, failover, update, limits });
      program = new DatabaseSync(fixture.file('a'));
      program.exec(`BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'of the other program')`);
      await eventually('a says so', () => lockAlarm(a) !== undefined);
      program.exec('COMMIT');
      await eventually('it is over', () => a.status().alarms.length === 0);
      await write(a, 3);
      await eventually('b has both', async () => /2n.*3n/.test(await rowsOf(b, 't')));
      expect(a.status()).toMatchObject({ role: 'primary', epoch: { number: 1 } });
    }, 60_000);
  },
);
