import { isVersionAtLeast } from '@antiphon/core';

/**
 * What a power cut, or the loss of a server's disk, can take from the log.
 * - `memory`: the stream is not on disk; a restart of the server takes everything.
 * - `periodic-fsync`: files are fsynced every one to two minutes; a power cut takes what came
 *   since.
 * - `replicated`: as periodic, on several servers: it takes a power cut of a majority of them.
 * - `fsync`: every entry is on disk before it is acknowledged.
 * - `unknown`: the server doesn't tell its sync interval to clients.
 */
export type DurabilityGrade = 'memory' | 'periodic-fsync' | 'replicated' | 'fsync' | 'unknown';

export interface Durability {
  readonly grade: DurabilityGrade;
  readonly sentence: string;
}

export interface DurabilityFacts {
  readonly serverVersion: string;
  readonly storage: string;
  readonly replicas: number;
  /** As the server's monitoring shows it; undefined when it was not asked. */
  readonly syncsAlways: boolean | undefined;
}

/** The first release that can fsync before it acknowledges (`sync_interval: always`). */
const SYNC_ALWAYS_SINCE = '2.10.0';

/**
 * Nobody publishes again what the log had acknowledged and databases have applied (decision 0024).
 */
const AFTERWARDS =
  'replicas that had read them stop (LOG_REPLACED): their databases keep the rows, but the log does not get them back, and an operator decides (docs/lost-log.md)';

const SENTENCES: Readonly<Record<DurabilityGrade, string>> = {
  memory: `The log is kept in memory: a restart of the server takes all of it, and ${AFTERWARDS}. Create the stream with file storage.`,
  'periodic-fsync': `The log is fsynced every one to two minutes: a power cut of the server takes the entries since then, and ${AFTERWARDS}. Set sync_interval: always (2.10 and later), or use three servers.`,
  replicated:
    'The log is on several servers, each fsyncing every one to two minutes: only a power cut of most of them at once can take entries.',
  fsync: 'Every entry is on disk before it is acknowledged.',
  unknown: `The server does not tell clients how often it fsyncs; by default every one to two minutes: a power cut then takes the entries since, and ${AFTERWARDS}. Give the address of its monitoring port (--monitor) to find out.`,
};

export function gradeDurability({
  serverVersion,
  storage,
  replicas,
  syncsAlways,
}: DurabilityFacts): Durability {
  const grade = gradeOf({ serverVersion, storage, replicas, syncsAlways });
  return { grade, sentence: SENTENCES[grade] };
}

function gradeOf({ serverVersion, storage, replicas, syncsAlways }: DurabilityFacts): DurabilityGrade {
  if (storage === 'memory') return 'memory';
  if (syncsAlways === true) return 'fsync';
  if (replicas > 1) return 'replicated';
  if (syncsAlways === false || !isVersionAtLeast(serverVersion, SYNC_ALWAYS_SINCE)) return 'periodic-fsync';
  return 'unknown';
}
