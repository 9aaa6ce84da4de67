import { DatabaseSync } from 'node:sqlite';
import { eventually } from '@antiphon/testing';
import { expect } from 'vitest';
import { sqlite3, type ChaosCluster } from './cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { write, type CallOptions } from './sync-cluster.js';

/** Short, so that a round does not take long. */
export const SHORT_FAILOVER = { leaseMs: 1500, renewMs: 300, marginMs: 200, probeMs: 50, goneMs: 300 };
/**
 * Primaries that fail too often are replaced later and later, by up to a minute. An operator who
 * does not want to wait for that makes another replica the primary.
 */
const OPERATOR_AFTER_MS = 4000;
export const LONGEST_ELECTION_MS = 90_000;

export interface EpochStatus {
  readonly id: string;
  readonly role: string;
  readonly lifecycle: string;
  readonly epoch: { readonly number: number; readonly primary: string };
}

/** Of those that run; undefined answers are left out. */
export async function statuses(replicas: readonly ReplicaHandle[]): Promise<EpochStatus[]> {
  const running = replicas.filter((replica) => replica.running);
  const all = await Promise.all(running.map((replica) => ask(replica)));
  return all.filter((status) => status !== undefined);
}

const ANSWER_MS = 2000;

async function ask(replica: ReplicaHandle): Promise<EpochStatus | undefined> {
  if (replica.config.program === undefined) {
    const answer = await replica.status(ANSWER_MS).catch(() => undefined);
    return answer?.status as EpochStatus | undefined;
  }
  // One that is stopped answers when it goes on.
  const nothing = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ANSWER_MS));
  return Promise.race([replica.ask<EpochStatus>('status').catch(() => undefined), nothing]);
}

/** Who is the primary, in an epoch after `after`. */
export async function primaryOf(
  replicas: readonly ReplicaHandle[],
  after = -1,
  timeoutMs = LONGEST_ELECTION_MS,
): Promise<ReplicaHandle> {
  const id = await eventually(
    'there is a primary',
    async () => {
      const all = await statuses(replicas);
      // One that was stopped does not know yet that it is not any more.
      const newest = Math.max(...all.map(({ epoch }) => epoch.number));
      return all.find(({ role, epoch }) => role === 'primary' && epoch.number === newest && newest > after)
        ?.id;
    },
    timeoutMs,
  ).catch(async (error: unknown) => {
    const said = JSON.stringify(await statuses(replicas), null, 1);
    throw new Error(`${String(error)}\n${said.slice(0, 8000)}`);
  });
  return replicas.find(({ config }) => config.id === id) as ReplicaHandle;
}

/** Another replica than the victim takes over: by itself, or an operator has it do that. */
export async function successorOf(
  victim: ReplicaHandle,
  chaos: ChaosCluster,
  epoch: number,
): Promise<ReplicaHandle> {
  const others = chaos.replicas.filter((replica) => replica !== victim);
  const byItself = await primaryOf(others, epoch, OPERATOR_AFTER_MS).catch(() => undefined);
  if (byItself !== undefined) return byItself;
  const chosen = others[Math.floor(Math.random() * others.length)];
  // Somebody may have been faster, or the machine is busy: that is waited for below.
  await chosen?.ask('takeOver').catch(() => undefined);
  return primaryOf(others, epoch);
}

/** The newest one that some file has. */
export function epochOf({ replicas }: ChaosCluster): number {
  return Math.max(
    ...replicas.map(({ config }) =>
      Number(sqlite3(config.file, 'SELECT coalesce(max(epoch), 0) FROM _antiphon_epochs')),
    ),
  );
}

/** A transaction that a file keeps beside its rows. */
export interface Kept {
  readonly counter: number;
  readonly reason: string;
  readonly state: string;
  readonly changes: number;
}

export function ledgerOf({ config }: ReplicaHandle): readonly Kept[] {
  const database = new DatabaseSync(config.file, { readOnly: true, timeout: 5000 });
  try {
    const sql = 'SELECT counter, reason, state, changes FROM _antiphon_rescue ORDER BY id';
    return database.prepare(sql).all() as unknown as Kept[];
  } finally {
    database.close();
  }
}

/** All of them run, and one is the primary of all. */
export async function untilPrimaryIs({ replicas }: ChaosCluster, primary: string): Promise<void> {
  await eventually(`all follow ${primary}`, async () => {
    const all = await statuses(replicas);
    return (
      all.length === replicas.length &&
      all.every(
        ({ id, epoch, lifecycle }) =>
          epoch.primary === primary && lifecycle === (id === primary ? 'primary' : 'following'),
      )
    );
  });
}

export interface WriteId {
  readonly origin: string;
  readonly counter: number;
}

/** A row of `entries`, committed at this replica of `startSync`. */
export async function writeEntry(
  replica: ReplicaHandle,
  id: string,
  options?: CallOptions,
): Promise<WriteId> {
  const answer = await write(replica, 'INSERT INTO entries (id) VALUES (?)', [id], options);
  expect(answer, id).toMatchObject({ outcome: 'committed' });
  return (answer as unknown as { readonly id: WriteId }).id;
}
