import { formatOutcomeId, type AppendRequest, type Log, type Store, type Topology } from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { groupOf } from '../state/certification.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, update: { mode: 'sync', acks: 'logged' } } as const;

it('I8: what is applied while it is asked for is not said to be rejected', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  let sent: (id: string) => Promise<void> = () => Promise.resolve();
  let answer: () => Promise<void> = () => Promise.resolve();
  const log = (real: Log): Log =>
    changed(real, {
      append: (request: AppendRequest, settle) => {
        const group = request.origin === 'a' ? groupOf(request.data) : undefined;
        if (group?.sync === undefined) return real.append(request, settle);
        const id = formatOutcomeId({ origin: 'a', counter: group.firstCounter }, group.sync.token);
        void sent(id).then(() => real.append(request, settle));
      },
    });
  const a = await fixture.replicaWith({ log }, 'a', options);
  const real: Store<SqliteTransaction> = sqlite({ file: fixture.file('b') });
  const store = changed(real, {
    outcomeOf: async (id) => {
      const found = await real.outcomeOf(id);
      await answer();
      return found;
    },
  });
  const b: SqliteReplica = await fixture.replica('b', { ...options, store });
  let outcome: Promise<unknown> | undefined;
  sent = async (id) => {
    if (outcome !== undefined) return;
    const asked = new Promise<void>((resolve) => {
      answer = async () => {
        answer = () => Promise.resolve();
        resolve();
        await eventually('b has applied it', async () => (await b.query('SELECT 1 FROM t')).length === 1);
      };
    });
    outcome = b.outcome(id);
    await asked;
  };
  await a.execute([{ sql: 'INSERT INTO t VALUES (1)' }]);
  expect(await outcome).toMatchObject({ outcome: 'committed' });
});
