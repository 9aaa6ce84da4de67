import type { AntiphonError, Log } from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';
import { CLUSTER_KEY, decodeClusterDocument, replicatedNames } from '../replica-formats.js';
import { GroupVerdicts } from './group-verdicts.js';
import { logChanges, type LoggedChange, type LogPlace } from './log-changes.js';

export interface ClusterChangesOptions {
  /** `now` is a replica's word for it: where it stands, and what lies before that place. */
  readonly from: 'now' | 'beginning' | LogPlace;
  /** Only of these; all of them when absent. UNKNOWN_TABLE for one that the cluster does not replicate. */
  readonly tables?: readonly string[];
  /** Told what is skipped, and what is waited for: a sentence each, without a full stop. */
  readonly onProblem: (message: string) => void;
  readonly signal: AbortSignal;
}

/** The log's own first record carries no changes, and is nothing to speak of. */
const FIRST_RECORD_SEQ = 1;

/**
 * Committed changes in the order of the log, each once, read from outside: no replica notices it, but for
 * questions about what certification rejected. Waits for more until the signal ends it. Throws NO_ACTOR (no such
 * cluster), UNKNOWN_TABLE, LOG_UNAVAILABLE, LOG_REPLACED.
 */
export async function* clusterChanges(
  client: ClusterClient,
  { from, tables, onProblem, signal }: ClusterChangesOptions,
): AsyncGenerator<LoggedChange, void, undefined> {
  await client.members();
  const log = client.nats.log(client.cluster);
  const start = await startOf(client, log, from, signal);
  const wanted = tables && new Set(await tablesMeant(client, tables));
  const onIgnored = (seq: number, error: AntiphonError): void => {
    if (seq > FIRST_RECORD_SEQ) onProblem(`entry ${seq} of the log is ignored: ${error.message}`);
  };
  const verdicts = new GroupVerdicts({ client, onProblem, signal });
  const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
  const isMember = (origin: string): Promise<boolean> => client.isMember(origin);
  for await (const change of logChanges({ log, start, isMember, rejectedIn, onIgnored, signal })) {
    if (wanted === undefined || wanted.has(change.table)) yield change;
  }
}

async function tablesMeant(
  { nats, cluster }: ClusterClient,
  tables: readonly string[],
): Promise<readonly string[]> {
  const entry = await nats.registry(cluster).get(CLUSTER_KEY);
  // A description that was lost is written again by whoever runs; the log can be followed meanwhile.
  if (entry === undefined) return tables;
  return replicatedNames(tables, decodeClusterDocument(entry.value).schema.tables, `Cluster ${cluster}`);
}

async function startOf(
  client: ClusterClient,
  log: Log,
  from: ClusterChangesOptions['from'],
  signal: AbortSignal,
): Promise<LogPlace> {
  const { generation, firstSeq, lastSeq } = await log.open({ create: false, signal });
  if (from === 'beginning')
    return { generation, seq: Math.max(1, firstSeq), vector: {}, vectorIsComplete: firstSeq <= 1, skip: 0 };
  if (from !== 'now') return from;
  const [id] = await client.answering();
  if (id === undefined) return { generation, seq: lastSeq + 1, vector: {}, vectorIsComplete: false, skip: 0 };
  const standing = await client.replica(id).ask('standing');
  return { ...standing, seq: standing.seq + 1, vectorIsComplete: true, skip: 0 };
}
