import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseOutcomeId } from '@antiphon/core';
import { expect } from 'vitest';
import { sqlite3, type ChaosCluster } from './cluster.js';
import { eventually } from '@antiphon/testing';
import { readJournal, type AcknowledgedWrite, type UnknownWrite } from './sync-journal.js';
import type { ReplicaHandle } from './replica-handle.js';

/** The rows of `table` in a replica's file, as the plain shell sees them. */
function rowsInFile({ config: { file } }: ReplicaHandle, table: string): ReadonlySet<string> {
  const sql = `SELECT id FROM ${table}`;
  try {
    return rowsOf(sqlite3(file, sql));
  } catch (error) {
    // Its process was stopped amid the index of the WAL, which nobody can use until it goes on.
    if (!/locking protocol/.test(String(error))) throw error;
    return rowsOf(withCopy(file, (copy) => sqlite3(copy, sql)));
  }
}

function rowsOf(output: string): ReadonlySet<string> {
  return new Set(output.split('\n').filter(Boolean));
}

/** Without the index, which SQLite makes anew. */
function withCopy(file: string, read: (copy: string) => string): string {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-copy-'));
  try {
    const copy = join(dir, 'copy.db');
    for (const end of ['', '-wal']) copyFileSync(file + end, copy + end);
    return read(copy);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/**
 * Now, before anything restarts: what was acknowledged is in the file of everyone whom its result
 * named, and those are as many as its level asked for.
 */
export function checkAcknowledged(cluster: ChaosCluster, table = 'entries'): number {
  // The journals first: what is acknowledged while the files are read does not count.
  const { acknowledged } = readJournal(cluster);
  const files = new Map(
    cluster.replicas.map((replica) => [replica.config.id, rowsInFile(replica, table)] as const),
  );
  const missing = acknowledged.flatMap(({ acknowledged: row, by = [], level }) =>
    by.filter((id) => files.get(id)?.has(row) !== true).map((id) => `${row} (acks ${level}) is not in ${id}`),
  );
  expect(missing, 'acknowledged writes that are not in a file').toEqual([]);
  expect(acknowledged.filter(isShort), 'acknowledged by too few').toEqual([]);
  return acknowledged.length;
}

/** In these tests two of three databases are a majority, and the least that `all` may mean. */
function isShort({ reached, by = [], missing = [], level }: AcknowledgedWrite): boolean {
  // Its time was up: it says so, and who has it.
  if (reached !== true) return false;
  return by.length < 2 || (level === 'all' && missing.length > 0);
}

export type Verdicts = Map<string, 'committed' | 'rejected'>;

/**
 * Asks the origin and another replica about every unknown write that has no verdict yet: they must
 * agree.
 */
export async function resolveUnknown(cluster: ChaosCluster, verdicts: Verdicts): Promise<void> {
  for (const write of readJournal(cluster).unknown) {
    if (verdicts.has(write.unknown)) continue;
    verdicts.set(write.unknown, await verdictOn(cluster, write));
  }
}

async function verdictOn(
  cluster: ChaosCluster,
  { outcomeId }: UnknownWrite,
): Promise<'committed' | 'rejected'> {
  const { origin } = parseOutcomeId(outcomeId);
  const own = cluster.replicas.find(({ config }) => config.id === origin);
  const other = cluster.replicas.find(({ config }) => config.id !== origin);
  if (own === undefined || other === undefined) throw new Error(`${outcomeId} is of nobody`);
  const [first, second] = [await settledOutcome(own, outcomeId), await settledOutcome(other, outcomeId)];
  expect(second, `${outcomeId} at ${other.config.id} and at its origin`).toBe(first);
  return first;
}

function settledOutcome(replica: ReplicaHandle, outcomeId: string): Promise<'committed' | 'rejected'> {
  let last: unknown;
  return eventually(
    `${replica.config.id} knows the outcome of ${outcomeId}`,
    async () => {
      try {
        const answer = await replica.ask<{ outcome: string }>('outcome', { of: outcomeId });
        last = answer;
        const { outcome } = answer;
        return outcome === 'committed' || outcome === 'rejected' ? outcome : undefined;
      } catch (error) {
        if (!replica.running) throw error;
        last = error;
        return undefined;
      }
    },
    20_000,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
  });
}

/**
 * After everything has healed and converged: the files hold what the callers were told, and nothing
 * else.
 */
export function checkHonest(cluster: ChaosCluster, verdicts: Verdicts, table = 'entries'): void {
  const { acknowledged, rejected, intents } = readJournal(cluster);
  const known = new Set(intents);
  for (const replica of cluster.replicas) {
    const { id } = replica.config;
    const rows = rowsInFile(replica, table);
    const lost = acknowledged.filter(({ acknowledged: row }) => !rows.has(row));
    expect(lost, `acknowledged and gone in ${id}`).toEqual([]);
    const undead = rejected.filter(({ rejected: row }) => rows.has(row));
    expect(undead, `rejected and there in ${id}`).toEqual([]);
    const wrong = [...verdicts].filter(([row, verdict]) => rows.has(row) !== (verdict === 'committed'));
    expect(wrong, `resolved to something else than what ${id} holds`).toEqual([]);
    expect(
      [...rows].filter((row) => !known.has(row)),
      `written by nobody, in ${id}`,
    ).toEqual([]);
  }
}
