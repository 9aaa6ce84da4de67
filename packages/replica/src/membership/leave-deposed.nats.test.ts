import { DatabaseSync } from 'node:sqlite';
import { AntiphonError, type AppendRequest, type Log, type Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { changed } from '../testing/changed.js';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
let program: DatabaseSync | undefined;
afterEach(async () => {
  program?.close();
  program = undefined;
  await fixture[Symbol.asyncDispose]();
});

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' } } as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?)', params: [id] }]);
}

describe('a primary that leaves while another one takes its place', () => {
  it.each([{ isLocked: true }, { isLocked: false }])(
    'I3: stays while its ledger is what keeps an acknowledged write, %o',
    async ({ isLocked }) => {
      fixture = await ClusterFixture.start();
      fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
      let isLost = false;
      const lost = new AntiphonError('LOG_UNAVAILABLE', 'Lost on its way.', { retriable: true });
      const log = (real: Log): Log =>
        changed(real, {
          append: (request: AppendRequest, settle) => {
            if (!isLost || request.origin !== 'a') return real.append(request, settle);
            setTimeout(() => settle({ type: 'unknown', error: lost }), 200);
          },
        });
      const a = await fixture.replicaWith({ log }, 'a', options);
      await fixture.replica('b', options);
      const c = await fixture.replica('c', options);
      await write(a, 1);
      await c.caughtUp();
      isLost = true;
      await write(a, 2);
      if (isLocked) {
        // What only it has cannot be undone yet.
        program = new DatabaseSync(fixture.file('a'));
        program.exec('BEGIN IMMEDIATE');
      }
      expect(await c.takeOver()).toMatchObject({ elected: true });
      if (isLocked) await eventually('a knows', () => a.status().role === 'replica');
      const leaving = a.leave();
      setTimeout(() => program?.exec('ROLLBACK'), 500);
      await expect(leaving).rejects.toMatchObject({
        code: expect.stringMatching(/^(BAD_OPTION|NOT_WRITABLE)$/) as string,
      });
      await eventually('a follows', () => a.status().lifecycle === 'following');
      await expect(a.leave()).rejects.toMatchObject({
        code: 'BAD_OPTION',
        message: expect.stringMatching(/The rescue ledger of a keeps 1 transactions/) as string,
      });
      expect(a.status()).toMatchObject({ rescued: 1, epoch: { primary: 'c' } });
      expect(await a.leave({ force: true })).toEqual({ id: 'a' });
      expect(await c.removeMember('b', { force: true })).toMatchObject({ members: ['c'] });
    },
  );
});
