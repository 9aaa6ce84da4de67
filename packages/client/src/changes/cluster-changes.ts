import {
  CLUSTER_KEY,
  decodeClusterDocument,
  replicatedNames,
  soleWriter,
  type AntiphonError,
  type ClusterDocument,
  type IntakeRules,
  type Log,
  type LoggedChange,
  type StreamStart,
} from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';
import { GroupVerdicts } from './group-verdicts.js';
import { logChanges } from './log-changes.js';

export interface ClusterChangesOptions {
  /** `now` is a replica's word for it: where it stands, and what lies before that place. */
  readonly from: 'now' | 'beginning' | StreamStart;
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
  const document = await documentOf(client);
  const wanted = tables && new Set(tablesMeant(client, document, tables));
  const onIgnored = (seq: number, error: AntiphonError): void => {
    const why = error.message.replace(/^entry \d+ of the log was put aside: /, '');
    if (seq > FIRST_RECORD_SEQ) onProblem(`entry ${seq} of the log is ignored: ${why}`);
  };
  const verdicts = new GroupVerdicts({ client, onProblem, signal });
  const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
  const isMember = (origin: string): Promise<boolean> => client.isMember(origin);
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  const rules = document && rulesOf(document);
  yield* logChanges({ log, start, rules, isMember, isWanted, rejectedIn, onIgnored, signal });
}

/** A description that was lost is written again by whoever runs; the log can be followed meanwhile. */
async function documentOf({ nats, cluster }: ClusterClient): Promise<ClusterDocument | undefined> {
  const entry = await nats.registry(cluster).get(CLUSTER_KEY);
  return entry && decodeClusterDocument(entry.value);
}

function rulesOf({ schema, topology, limits, rowVersions }: ClusterDocument): IntakeRules {
  const primary = soleWriter(topology);
  return { schema, primary, agreed: limits, timesDecide: rowVersions, clockAlarmMs: Infinity };
}

function tablesMeant(
  { cluster }: ClusterClient,
  document: ClusterDocument | undefined,
  tables: readonly string[],
): readonly string[] {
  return document === undefined
    ? tables
    : replicatedNames(tables, document.schema.tables, `Cluster ${cluster}`);
}

async function startOf(
  client: ClusterClient,
  log: Log,
  from: ClusterChangesOptions['from'],
  signal: AbortSignal,
): Promise<StreamStart> {
  const { generation, firstSeq, lastSeq } = await log.open({ create: false, signal });
  if (from === 'beginning')
    return { generation, seq: Math.max(1, firstSeq), vector: {}, vectorIsComplete: firstSeq <= 1, skip: 0 };
  if (from !== 'now') return from;
  const [id] = await client.answering();
  if (id === undefined) return { generation, seq: lastSeq + 1, vector: {}, vectorIsComplete: false, skip: 0 };
  const standing = await client.replica(id).ask('standing');
  return { ...standing, seq: standing.seq + 1, vectorIsComplete: true, skip: 0 };
}
