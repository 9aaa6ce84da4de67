import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { pause, sqlite3, type ChaosCluster } from './cluster.js';
import { primaryOf } from './failover-cluster.js';
import { checkReigns, type ReignOperation } from './reigns.js';
import type { ReplicaHandle } from './replica-handle.js';
import { idle } from './sync-cluster.js';

const LOAD = { timeoutMs: 1500, pauseMs: 5 };

export async function loadRegisters(replica: ReplicaHandle): Promise<void> {
  await replica.ask('load', { ...LOAD, load: 'reads', count: 2 });
  await replica.ask('load', { ...LOAD, load: 'directWrites' });
  await replica.ask('load', { ...LOAD, load: 'sentWrites' });
}

export interface RegistersSeen {
  /** Operations that came about. */
  readonly reads: number;
  readonly writes: number;
  readonly rescued: number;
  readonly epochs: number;
  /** What callers were told, how often. */
  readonly codes: Readonly<Record<string, number>>;
}

/** Ends the load, waits until all files are equal, and checks what was told of the registers. */
export async function checkRegisters(chaos: ChaosCluster): Promise<RegistersSeen> {
  await primaryOf(chaos.replicas);
  await pause(500);
  await idle(chaos.replicas);
  await chaos.converged();
  const { operations, codes } = journalOf(chaos);
  const ledgers = await Promise.all(
    chaos.replicas.map((replica) => replica.ask<[string, number][]>('rescuedValues')),
  );
  const [primaries, written, rescued] = [primariesOf(chaos.at(0)), valuesIn(chaos.at(0)), ledgers.flat()];
  const { faults, ...report } = checkReigns({ primaries, operations, written, rescued });
  expect(faults.slice(0, 5).join('\n')).toBe('');
  const ok = (kind: string): number =>
    operations.filter(({ record }) => record.operation.kind === kind && record.completion.type === 'ok')
      .length;
  const counts = { reads: ok('read'), writes: ok('write'), rescued: rescued.length };
  return { ...report, ...counts, epochs: primaries.length, codes };
}

interface Journal {
  readonly operations: readonly ReignOperation[];
  readonly codes: Readonly<Record<string, number>>;
}

/** Each operation as it was noted last: when it began, and again when it had ended. */
function journalOf({ replicas }: ChaosCluster): Journal {
  const last = new Map<string, ReignOperation>();
  const codes: Record<string, number> = {};
  for (const { config } of replicas) {
    if (!existsSync(config.journal)) continue;
    for (const line of readFileSync(config.journal, 'utf8').split('\n').slice(0, -1)) {
      const { operation: record, epochs, code = 'ok' } = JSON.parse(line) as Line;
      if (epochs.length === 2) codes[code] = (codes[code] ?? 0) + 1;
      last.set(`${record.process}#${record.id}`, { record, epochs });
    }
  }
  return { operations: [...last.values()], codes };
}

interface Line {
  readonly operation: ReignOperation['record'];
  readonly epochs: readonly number[];
  readonly code?: string;
}

/** By the numbers of the epochs, from 0 on. */
function primariesOf({ config }: ReplicaHandle): string[] {
  const rows = sqlite3(config.file, 'SELECT epoch, primary_replica FROM _antiphon_epochs ORDER BY epoch');
  const primaries: string[] = ['a'];
  for (const row of rows.trim().split('\n')) {
    const [epoch = '', primary = ''] = row.split('|');
    primaries[Number(epoch)] = primary;
  }
  return primaries;
}

function valuesIn({ config }: ReplicaHandle): ReadonlySet<string> {
  return new Set(sqlite3(config.file, 'SELECT id FROM done').split('\n').filter(Boolean));
}
