import { counted } from '@antiphon/core';
import type { ServerDescription } from '@antiphon/nats';
import type { AckLevel, ReplicaStatus, SyncStatus } from '@antiphon/replica';
import { newestSync } from '../commands/status-text.js';
import { fail, ok, warn, type Check } from './check.js';

/**
 * A synchronous cluster: can it write, and what would a power cut take? Nothing for other clusters.
 */
export function syncChecks(
  statuses: readonly ReplicaStatus[],
  log: ServerDescription['log'],
): readonly Check[] {
  const sync = newestSync(statuses);
  if (sync === undefined) return [];
  return [inSyncCheck(sync), ...(log === undefined ? [] : durabilityChecks(sync.acks, log.durability.grade))];
}

function inSyncCheck({ inSync, known, needed, onShortfall, acks }: SyncStatus): Check {
  const names = inSync.length === 0 ? 'none' : inSync.join(', ');
  if (inSync.length >= needed) return ok('sync', `sync, acks ${acks}: in sync are ${names}`);
  const message = `${inSync.length} of at least ${counted(needed, 'replica')} ${inSync.length === 1 ? 'is' : 'are'} in sync (${names})`;
  const missing = known.filter((id) => !inSync.includes(id));
  const advice =
    missing.length === 0
      ? 'Start more replicas.'
      : `Start ${missing.join(', ')}, or see \`antiphon status\` for what holds them up. ` +
        'Remove those that are gone for good with `antiphon member remove ID`.';
  if (onShortfall === 'degrade') {
    return warn('sync', `${message}: writes complete without waiting for the others.`, advice);
  }
  return fail('sync', `${message}: writes that wait for others are rejected.`, advice);
}

/** Databases fsync what they acknowledge. What is only in the log is as durable as the log. */
function durabilityChecks(
  acks: AckLevel,
  grade: NonNullable<ServerDescription['log']>['durability']['grade'],
): readonly Check[] {
  if (grade === 'fsync' || grade === 'replicated') return [];
  if (acks === 'logged') {
    const message = `\`acks: logged\` with a log that is ${grade}: a power cut can lose acknowledged writes.`;
    const advice =
      'Wait for databases (acks: local, majority, all), or make the log durable (sync_interval: always).';
    return [warn('sync durability', message, advice)];
  }
  const where =
    acks === 'local' || acks === 1 ? "the writer's database" : 'the databases that acknowledged it';
  const kept = `A power cut of nats-server alone loses no acknowledged write (it is on the disk of ${where}), but may end the log: replicas stop then, and say so.`;
  return [ok('sync durability', kept)];
}
