import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { OperationRecord } from '@antiphon/testing';
import type { ChaosCluster } from './cluster.js';
import type { ReplicaHandle } from './replica-handle.js';

/** A write that its caller saw committed. */
export interface AcknowledgedWrite {
  readonly acknowledged: string;
  readonly seq: number;
  readonly level?: string | number;
  readonly by?: readonly string[];
  readonly missing?: readonly string[];
  readonly reached?: boolean;
  readonly degraded?: true;
}

export interface RejectedWrite {
  readonly rejected: string;
  readonly code: string;
  readonly message: string;
}

export interface UnknownWrite {
  readonly unknown: string;
  readonly outcomeId: string;
}

type Line =
  | AcknowledgedWrite
  | RejectedWrite
  | UnknownWrite
  | { readonly intent: string }
  | { readonly snapshot: readonly number[] }
  | { readonly operation: OperationRecord };

/** What the processes of a cluster noted, in the moment it happened to them. */
export interface SyncJournal {
  readonly intents: readonly string[];
  readonly acknowledged: readonly AcknowledgedWrite[];
  readonly rejected: readonly RejectedWrite[];
  readonly unknown: readonly UnknownWrite[];
  readonly snapshots: readonly (readonly number[])[];
  /** Each operation twice: when it began, and when it had ended. */
  readonly operations: readonly OperationRecord[];
}

/** For writes that a test asks a process for: beside what the process writes by itself. */
export function note({ config }: ReplicaHandle, line: Line): void {
  appendFileSync(config.journal, JSON.stringify(line) + '\n');
}

export function readJournal(cluster: ChaosCluster): SyncJournal {
  const lines = cluster.replicas.flatMap(({ config }) => linesOf(config.journal));
  return {
    intents: lines.flatMap((line) => ('intent' in line ? [line.intent] : [])),
    acknowledged: lines.filter((line) => 'acknowledged' in line),
    rejected: lines.filter((line) => 'rejected' in line),
    unknown: lines.filter((line) => 'unknown' in line),
    snapshots: lines.flatMap((line) => ('snapshot' in line ? [line.snapshot] : [])),
    operations: lines.flatMap((line) => ('operation' in line ? [line.operation] : [])),
  };
}

/** Without reading what the lines say: for those who look again and again. */
export function countAcknowledged(cluster: ChaosCluster): number {
  const texts = cluster.replicas.map(({ config }) =>
    existsSync(config.journal) ? readFileSync(config.journal, 'utf8') : '',
  );
  return texts.reduce((sum, text) => sum + text.split('\n{"acknowledged"').length - 1, 0);
}

/** A last line that a kill cut off is left out. */
function linesOf(file: string): Line[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}
