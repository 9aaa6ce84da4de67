import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import type { ClusterClient } from '@antiphon/client';
import { Progress } from '../output/progress.js';
import type { Terminal } from '../output/terminal.js';
import { loadCities } from './load-cities.js';

export interface ReplicateOptions {
  readonly client: ClusterClient;
  /** The first one is written to. */
  readonly replicas: readonly [string, ...string[]];
  readonly rows: number;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

export interface Replicated {
  /** From the first statement until every replica held every row. */
  readonly seconds: number;
  /** Until the first replica had committed them all. */
  readonly loadedSeconds: number;
}

const POLL_MS = 50;
/** Without one more row anywhere for so long, something is wrong that waiting does not mend. */
const STUCK_MS = 30_000;
const COUNT = { sql: 'SELECT count(*) FROM cities', params: [], maxRows: 1 };

/** Writes the cities into the first replica and watches them arrive in the others. */
export async function replicateCities({
  client,
  replicas,
  rows,
  terminal,
  signal,
}: ReplicateOptions): Promise<Replicated> {
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  // What ends one of the two ends the other.
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const giveUp = (error: unknown): never => {
    failed.abort(error);
    throw error;
  };
  const progress = new Progress(terminal, rows);
  const onCounts = (counts: readonly number[]): void => {
    const label = replicas
      .map((id, index) => `${id} ${(counts[index] ?? 0).toLocaleString('en-US')}`)
      .join('  ');
    progress.update(Math.min(...counts), label);
  };
  const loading = loadCities(client.replica(replicas[0]), rows, either).then(seconds).catch(giveUp);
  const arriving = untilArrived({ client, replicas, rows, signal: either, onCounts })
    .then(seconds)
    .catch(giveUp);
  const [loaded, arrived] = await Promise.allSettled([loading, arriving]);
  progress.end();
  if (failed.signal.aborted) throw failed.signal.reason;
  if (loaded.status === 'rejected' || arrived.status === 'rejected') throw signal.reason;
  return { loadedSeconds: loaded.value, seconds: arrived.value };
}

interface ArrivalOptions extends Omit<ReplicateOptions, 'terminal'> {
  readonly onCounts: (counts: readonly number[]) => void;
}

async function untilArrived({ client, replicas, rows, signal, onCounts }: ArrivalOptions): Promise<void> {
  let [most, movedAt] = [-1, performance.now()];
  for (;;) {
    const counts = await Promise.all(replicas.map((id) => countRows(client, id, signal)));
    onCounts(counts);
    if (Math.min(...counts) >= rows) return;
    const sum = counts.reduce((a, b) => a + b, 0);
    if (sum !== most) [most, movedAt] = [sum, performance.now()];
    else if (performance.now() - movedAt > STUCK_MS) throw stuck(client.cluster, counts);
    await sleep(POLL_MS, undefined, { signal });
  }
}

function stuck(cluster: string, counts: readonly number[]): AntiphonError {
  const message = `No row has arrived for ${STUCK_MS / 1000} s (${counts.join(', ')}). The log files in the folder of the demo say why.`;
  return new AntiphonError('TIMEOUT', message, { context: { cluster } });
}

async function countRows(client: ClusterClient, id: string, signal: AbortSignal): Promise<number> {
  const { rows } = await client.replica(id).ask('query', COUNT, { signal });
  return Number(rows[0]?.[0] ?? 0);
}
