import { ActorSystem } from '@antiphon/actor';
import { type Role, systemClock, type Topology } from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { expect, it } from 'vitest';
import { resolveSettings } from '../config/options.js';
import { prepare } from '../start/prepare.js';
import type { Authority, Mandate } from '../state/authority.js';
import { eventually } from '@antiphon/testing';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { createKv, kvOf } from '../testing/kv.js';
import { Deadline } from '../wait/deadline.js';
import { ReplicaActor, replicaMailbox } from './replica-actor.js';

/** Whom the test appoints. */
class Appointed implements Authority {
  readonly #listeners = new Set<(mandate: Mandate) => void>();
  #mandate: Mandate = { epoch: 0, role: 'primary', primary: 'a', mayWrite: true };

  readonly byTerm = false;

  current(): Mandate {
    return this.#mandate;
  }

  changed(): void {
    for (const listener of this.#listeners) listener(this.#mandate);
  }

  deposed(): void {
    throw new Error('nobody deposes it through the log');
  }

  onChange(listener: (mandate: Mandate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  appoint(primary: string, role: Role): void {
    this.#mandate = { epoch: this.#mandate.epoch + 1, role, primary, mayWrite: role !== 'replica' };
    for (const listener of this.#listeners) listener(this.#mandate);
  }
}

it('ends the children of a mandate and starts those of the next one, and sends on in it', async () => {
  await using cluster = await ClusterFixture.start();
  const topology: Topology = { mode: 'primary-replica', primary: 'a' };
  const [left, right] = [createKv(cluster, 'a'), kvOf(cluster, 'b')];
  const store = sqlite({ file: left.file });
  const ports = await cluster.ports();
  const settings = resolveSettings<SqliteTransaction>({ id: 'a', store, topology, ...ports });
  const closing = new AbortController();
  const deadline = new Deadline(settings.clock, 5000);
  const authority = new Appointed();
  const scope = { ...(await prepare(settings, closing.signal, deadline)), authority };
  deadline.end();
  await cluster.replica('b', { topology });
  const ended: string[] = [];
  await using system = new ActorSystem({
    clock: systemClock(),
    name: 'a',
    onEvent: ({ type, path }) => type === 'ended' && ended.push(path),
  });
  const mailbox = replicaMailbox(scope.limits.waitingWrites);
  const actor = system.spawn('replica', () => new ReplicaActor(scope), { mailbox });
  const put = (key: string) =>
    actor.ask(
      'write',
      { run: (tx) => (tx as SqliteTransaction).run('INSERT INTO kv VALUES (?, 1)', [key]) },
      { timeoutMs: 5000 },
    );

  await put('first');
  await eventually('b has it', () => right.rows.has('first'));
  authority.appoint('b', 'replica');
  await eventually('its children have ended', () => ended.length === 2);
  expect(ended.sort()).toEqual(['a/replica/feed', 'a/replica/relay']);
  authority.appoint('a', 'primary');
  await eventually('its children have ended again', () => ended.length === 4);
  await put('second');
  await eventually('b has what was written in the new mandate', () => right.rows.has('second'));
});
