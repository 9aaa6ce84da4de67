import {
  CLUSTER_KEY,
  decodeClusterDocument,
  replicatedNames,
  soleWriter,
  withAbortReason,
  type AntiphonError,
  type ChangeCursor,
  type ClusterDocument,
  type IntakeRules,
  type Log,
  type LoggedChange,
} from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';
import { GroupVerdicts } from './group-verdicts.js';
import { logChanges } from './log-changes.js';

export interface ClusterChangesOptions {
  /** `now` is a replica's word for it: where it stands, and what lies before that place. */
  readonly from: 'now' | 'beginning' | ChangeCursor;
  /** Only of these; all of them when absent. UNKNOWN_TABLE for one that the cluster does not replicate. */
  readonly tables?: readonly string[];
  /** Told what is skipped, and what is waited for: a sentence each, without a full stop. */
  readonly onProblem: (message: string) => void;
  readonly signal: AbortSignal;
}

const RULES_MS = 1000;
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
  const start = await withAbortReason(startOf(client, log, from, signal), { signal });
  const document = await documentOf(client);
  const wanted = tables && new Set(tablesMeant(client, document, tables));
  const onIgnored = (seq: number, error: AntiphonError): void => {
    const why = error.message.replace(/^entry \d+ of the log was put aside: /, '');
    if (seq > FIRST_RECORD_SEQ) onProblem(`entry ${seq} of the log is ignored: ${why}`);
  };
  const verdicts = new GroupVerdicts({ client, onProblem, signal });
  const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
  const isMember = (origin: string): Promise<boolean> => client.isKnownMember(origin);
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  const rules = currentRules(client, document);
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
): Promise<ChangeCursor> {
  const { generation, firstSeq, lastSeq } = await log.open({ create: false, signal });
  if (from === 'beginning') return begin(generation, Math.max(1, firstSeq), firstSeq > 1);
  if (from !== 'now') return from;
  const [id] = await client.answering();
  if (id === undefined) return begin(generation, lastSeq + 1, true);
  const standing = await client.replica(id).ask('standing');
  return { generation: standing.generation, seq: standing.seq + 1, vector: standing.vector, skip: 0 };
}

function begin(generation: string, seq: number, isPartial: boolean): ChangeCursor {
  return { generation, seq, vector: {}, skip: 0, ...(isPartial && { isPartial }) };
}

/** What replicas judge by may change while somebody reads: it is looked up again, once a second at most. */
function currentRules(
  client: ClusterClient,
  document: ClusterDocument | undefined,
): () => Promise<IntakeRules | undefined> {
  let rules = document && rulesOf(document);
  let readAtMs = performance.now();
  return async () => {
    if (performance.now() - readAtMs < RULES_MS) return rules;
    const newer = await documentOf(client);
    readAtMs = performance.now();
    rules = newer === undefined ? rules : rulesOf(newer);
    return rules;
  };
}
