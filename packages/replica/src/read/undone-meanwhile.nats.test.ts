import { DatabaseSync } from 'node:sqlite';
import { remoteRef } from '@antiphon/actor';
import {
  AntiphonError,
  type AppendRequest,
  type Log,
  mailboxPrefix,
  newestEpoch,
  type QueryResult,
  type Topology,
} from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import type { MailboxProtocol } from '../internal.js';
import { insideOf } from '../replica/inside.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
let program: DatabaseSync | undefined;
afterEach(async () => {
  program?.close();
  program = undefined;
  await fixture[Symbol.asyncDispose]();
});

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' } } as const;

/** Where what was read is kept back while it is held. */
class HeldResults {
  isOn = false;
  held = 0;
  #release: () => void = () => undefined;
  readonly #free = new Promise<void>((resolve) => (this.#release = resolve));

  release(): void {
    this.#release();
  }

  readonly of = (real: ReturnType<typeof sqlite>): ReturnType<typeof sqlite> =>
    changed(real, {
      query: async (...args): Promise<QueryResult> => {
        const result = await real.query(...args);
        if (this.isOn) {
          this.held++;
          await this.#free;
        }
        return result;
      },
    });
}

it('I12: a read shows nothing that was undone before its place, however young it was', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const results = new HeldResults();
  const states: string[] = [];
  const onLifecycle = (state: string): void => {
    // Another program gets the lock between the rewind and the epoch.
    if (states.at(-1) === 'rewinding' && program === undefined) {
      program = new DatabaseSync(fixture.file('a'));
      program.exec('BEGIN IMMEDIATE');
    }
    states.push(state);
  };
  const store = results.of(sqlite({ file: fixture.file('a') }));
  let isLost = false;
  const lost = new AntiphonError('LOG_UNAVAILABLE', 'Lost on its way.', { retriable: true });
  const log = (real: Log): Log =>
    changed(real, {
      append: (request: AppendRequest, settle) => {
        if (!isLost || request.origin !== 'a') return real.append(request, settle);
        setTimeout(() => settle({ type: 'unknown', error: lost }), 100);
      },
    });
  const a = await fixture.replicaWith({ log }, 'a', { ...options, store, onLifecycle });
  const b = await fixture.replica('b', options);
  const mailbox = remoteRef<MailboxProtocol>(
    (await fixture.nats()).bus(),
    mailboxPrefix(fixture.cluster, 'a'),
  );
  const first = await a.execute([{ sql: 'INSERT INTO t VALUES (1)' }]);
  await eventually('the log has it', async () => (await rowsOf(b, 't')).includes('1n'));
  isLost = true;
  results.isOn = true;
  const after = { ...first.position, vector: { a: (first.id?.counter ?? 0) + 1 } };
  const session = { consistency: 'session', after, timeoutMs: 30_000 } as const;
  const sql = 'SELECT count(*) FROM t';
  const reading = mailbox.ask('query', { sql, params: [], maxRows: 1, ...session }, { timeoutMs: 30_000 });
  reading.catch(() => undefined);
  // It stands before this write, and waits for it.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await a.execute([{ sql: 'INSERT INTO t VALUES (2)' }]);
  await eventually('it has read that', () => results.held > 0);
  await b.takeOver();
  await eventually('it is undone', () => program !== undefined);
  expect(newestEpoch(insideOf(a).scope.store.state()).number).toBe(1);
  results.isOn = false;
  results.release();
  await new Promise((resolve) => setTimeout(resolve, 300));
  program?.exec('ROLLBACK');
  await expect(reading).rejects.toMatchObject({ code: 'SESSION_LOST' });
}, 60_000);
