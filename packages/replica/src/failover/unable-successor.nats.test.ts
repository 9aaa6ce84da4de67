import { DatabaseSync } from 'node:sqlite';
import { EPOCH_ORIGIN, type Log, type Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { insideOf } from '../replica/inside.js';
import { changed } from '../testing/changed.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { candidacies } from './candidacy.js';
import { bestSuccessor } from './hand-over.js';

let fixture: ClusterFixture;
let program: DatabaseSync | undefined;
afterEach(async () => {
  program?.close();
  program = undefined;
  await fixture[Symbol.asyncDispose]();
});

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const failover = { mode: 'manual' } as const;

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?)', params: [id] }]);
}

async function two(
  options: { readonly onLifecycle?: (state: string) => void; readonly priority?: number } = {},
): Promise<{ readonly a: SqliteReplica; readonly b: SqliteReplica }> {
  const { onLifecycle, priority } = options;
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const a = await fixture.replica('a', { topology, failover, ...(onLifecycle && { onLifecycle }) });
  const b = await fixture.replica('b', {
    ...{ topology, failover },
    ...(priority !== undefined && { failoverPriority: priority }),
  });
  await write(a, 1);
  await eventually('b has it', async () => (await rowsOf(b, 't')).includes('1n'));
  return { a, b };
}

function lock(id: string): DatabaseSync {
  program = new DatabaseSync(fixture.file(id));
  program.exec('BEGIN IMMEDIATE');
  return program;
}

it('I7: who ends as the primary hands over to a busy replica, where the others are no candidates', async () => {
  const { a } = await two({});
  await fixture.replica('c', { topology, failover, failoverPriority: 0 });
  lock('b');
  await new Promise((resolve) => setTimeout(resolve, 1200));
  const { scope, replica } = insideOf(a);
  // On a busy machine, its answer comes too late at times.
  await eventually('b says that it is busy', async () => {
    const answers = await candidacies(scope, replica, scope.closing);
    return answers.find(({ id }) => id === 'b')?.isBusy === true;
  });
  await eventually('b is chosen', async () => (await bestSuccessor(scope, replica)) === 'b');
});

it('I3, I9: nothing is taken back from a successor whose word nobody waits for any more', async () => {
  const ending = new AbortController();
  let isAsked = false;
  const { a, b } = await two({
    onLifecycle: (state) => void (isAsked && state === 'following' && ending.abort()),
  });
  const before = a.status().epoch?.number ?? 0;
  isAsked = true;
  const done = await a.switchOver('b', { signal: ending.signal }).catch((error: unknown) => error);
  await eventually('b is the primary', () => b.status().lifecycle === 'primary');
  await write(b, 2);
  // Long enough for a claim to come.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const epoch = { number: before + 1, primary: 'b' };
  expect([a.status().epoch, b.status().epoch]).toEqual([
    expect.objectContaining(epoch),
    expect.objectContaining(epoch),
  ]);
  expect(done).toMatchObject({ primary: 'b' });
  expect(b.status().rescued).toBe(0);
});

describe('a switchover to a replica that cannot commit', () => {
  it('I7: is refused before any write is held, when the lock lasts', async () => {
    const states: string[] = [];
    const { a, b } = await two({ onLifecycle: (state) => states.push(state) });
    const other = lock('b');
    // What it has committed a moment ago says that it can.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await expect(a.switchOver('b', { timeoutMs: 1000 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(
        /still not able to commit at once: it is busy, or another program .*a stays the primary/,
      ) as string,
    });
    expect(states).not.toContain('draining');
    await write(a, 2);
    other.exec('ROLLBACK');
    expect(await a.switchOver('b')).toMatchObject({ elected: true, primary: 'b' });
    await write(b, 3);
  });

  it('I7: is taken back when it is locked at the last moment', async () => {
    const locked = { isOn: false };
    const { a, b } = await two({
      onLifecycle: (state) => {
        if (state !== 'draining' || locked.isOn) return;
        locked.isOn = true;
        lock('b');
      },
    });
    await expect(a.switchOver('b', { timeoutMs: 1500 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/names b the primary, and it has not begun .*locked its file/) as string,
    });
    expect(locked.isOn).toBe(true);
    await eventually('a is the primary again', () => a.status().lifecycle === 'primary');
    expect(a.status().epoch).toMatchObject({ number: 3, primary: 'a', why: 'switchover' });
    await write(a, 2);
    program?.exec('ROLLBACK');
    await eventually('b follows', async () => (await rowsOf(b, 't')).includes('2n'));
    expect([a.status().rescued, b.status().rescued]).toEqual([0, 0]);
    expect(await a.switchOver('b')).toMatchObject({ elected: true, primary: 'b' });
  });

  it('I7: says that it has left, where it leaves before the log names it', async () => {
    fixture = await ClusterFixture.start();
    fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const options = { topology, failover };
    const leaving: { replica?: SqliteReplica | undefined } = {};
    const log = (real: Log): Log =>
      changed(real, {
        append: (request, settled) => {
          const { replica } = leaving;
          if (replica === undefined || request.origin !== EPOCH_ORIGIN) return real.append(request, settled);
          leaving.replica = undefined;
          void replica.leave().then(() => real.append(request, settled));
        },
      });
    const a = await fixture.replicaWith({ log }, 'a', options);
    leaving.replica = await fixture.replica('b', options);
    await write(a, 1);
    await leaving.replica.caughtUp();
    await expect(a.switchOver('b', { timeoutMs: 5000 })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(
        /^The switchover to b did not come about: b has left cluster shop meanwhile\. Choose another one\. a takes writes/,
      ) as string,
    });
    await eventually('a is the primary again', () => a.status().lifecycle === 'primary');
    await write(a, 2);
  });

  it('is done for one that would not be elected by itself', async () => {
    const { a, b } = await two({ priority: 0 });
    expect(await a.switchOver('b')).toMatchObject({ elected: true, primary: 'b' });
    await write(b, 2);
  });
});
