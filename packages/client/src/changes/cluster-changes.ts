import {
  checkRequired,
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
  type OptionNames,
  sentence,
} from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';
import { GroupVerdicts } from './group-verdicts.js';
import { logChanges } from './log-changes.js';

/** Which changes to follow, and from where. */
export interface ClusterChangesOptions {
  /**
   * Where to begin: `'now'`, where a replica that answers stands; `'beginning'`, as far back as the
   * log reaches; or what `parseCursor` makes of the `cursor` of a change.
   */
  readonly from: 'now' | 'beginning' | ChangeCursor;
  /**
   * Only changes of these tables; UNKNOWN_TABLE for one that the cluster does not replicate.
   * @defaultValue all of them
   */
  readonly tables?: readonly string[];
  /**
   * Told what is skipped, and what is waited for: a sentence each. What it
   * throws ends the stream.
   */
  readonly onProblem: (message: string) => void;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

const CHANGES_OPTIONS: OptionNames<ClusterChangesOptions> = {
  ...{ from: true, tables: true, onProblem: true, signal: true },
};
const RULES_MS = 1000;
/** The log's own first record carries no changes, and is nothing to speak of. */
const FIRST_RECORD_SEQ = 1;

/**
 * Follows committed changes in the order of the log, each once, from outside: no replica notices
 * it, but for questions about what certification rejected. Waits for more until the signal ends it.
 *
 * @throws AntiphonError BAD_OPTION, NO_ACTOR (no such cluster), UNKNOWN_TABLE, LOG_UNAVAILABLE,
 *   LOG_REPLACED
 * @example
 * for await (const change of clusterChanges(client, { from: 'now', onProblem: console.error, signal }))
 *   console.log(change.table, change.op, change.key);
 */
export async function* clusterChanges(
  client: ClusterClient,
  options: ClusterChangesOptions,
): AsyncGenerator<LoggedChange, void, undefined> {
  checkRequired(options, CHANGES_OPTIONS, 'clusterChanges()', ['from', 'onProblem', 'signal']);
  const { from, tables, onProblem, signal } = options;
  await client.members();
  const log = client.nats.log(client.cluster);
  const start = await withAbortReason(startOf(client, log, from, signal), { signal });
  const document = await documentOf(client);
  const wanted = tables && new Set(tablesMeant(client, document, tables));
  const onIgnored = (seq: number, error: AntiphonError): void => {
    const why = error.message.replace(/^Entry \d+ of the log was quarantined: /, '');
    if (seq > FIRST_RECORD_SEQ) onProblem(`Entry ${seq} of the log is ignored: ${sentence(why)}`);
  };
  const verdicts = new GroupVerdicts({ client, onProblem, signal });
  const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
  const isMember = (origin: string): Promise<boolean> => client.isKnownMember(origin);
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  const rules = currentRules(client, document);
  yield* logChanges({ log, start, rules, isMember, isWanted, rejectedIn, onIgnored, signal });
}

/**
 * A description that was lost is written again by whoever runs; the log can be followed meanwhile.
 */
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
  return { generation: standing.generation, seq: standing.seq + 1, vector: standing.vector, inside: {} };
}

function begin(generation: string, seq: number, isPartial: boolean): ChangeCursor {
  return { generation, seq, vector: {}, inside: {}, ...(isPartial && { isPartial }) };
}

/**
 * What replicas judge by may change while somebody reads: it is looked up again, once a second at
 * most.
 */
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
