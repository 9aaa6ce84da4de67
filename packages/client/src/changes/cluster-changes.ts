import {
  AntiphonError,
  assertTablesWanted,
  type ChangeCursor,
  checkRequired,
  type ClusterDocument,
  counterOf,
  endable,
  type Epoch,
  epochAt,
  findOpenParts,
  findPlace,
  firstEpoch,
  formatTransactionId,
  type IntakeRules,
  type Log,
  type LoggedChange,
  type OptionNames,
  replicatedNames,
  SecondLooks,
  sentence,
  soleWriter,
  type TransactionId,
  usersTables,
  withAbortReason,
} from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';
import { clusterDocument } from '../cluster-document.js';
import { GroupVerdicts } from './group-verdicts.js';
import { logChanges, type LogChangesOptions, parseCursor } from './log-changes.js';
import { MemberCoverage } from './member-coverage.js';
import { Patience } from './patience.js';

/** Which changes to follow, and from where. */
export interface ClusterChangesOptions {
  /**
   * Where to begin: `'now'`, where a replica that answers stands; `'beginning'`, as far back as the
   * log reaches; or the `cursor` of a change, to go on after it, as it is or as `parseCursor` reads
   * it.
   */
  readonly from: string | ChangeCursor;
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
 * it, but for questions where it stands, and about what certification rejected. Waits for more
 * until the signal ends it, and goes on when NATS was away.
 *
 * @throws AntiphonError BAD_OPTION, NO_ACTOR (no such cluster), UNKNOWN_TABLE; LOG_UNAVAILABLE when
 *   NATS does not answer as it begins; LOG_REPLACED, PLACE_LOST when the log does not hold what
 *   follows; CLOSED
 * @example
 * for await (const change of clusterChanges(client, { from: 'now', onProblem: console.error, signal }))
 *   console.log(change.table, change.op, change.key);
 */
export function clusterChanges(
  client: ClusterClient,
  options: ClusterChangesOptions,
): AsyncGenerator<LoggedChange, void, undefined> {
  return endable((ending) => followCluster(client, options, ending));
}

async function* followCluster(
  client: ClusterClient,
  options: ClusterChangesOptions,
  ending: AbortSignal,
): AsyncGenerator<LoggedChange, void, undefined> {
  checkRequired(options, CHANGES_OPTIONS, 'clusterChanges()', ['from', 'onProblem', 'signal']);
  const { tables, onProblem } = options;
  const from = placeGiven(options.from);
  assertTablesWanted(tables, 'clusterChanges()');
  const signal = AbortSignal.any([options.signal, ending]);
  await client.members();
  const log = client.nats.log(client.cluster);
  const start = await withAbortReason(startOf(client, log, from, signal), { signal });
  const document = await clusterDocument(client);
  const wanted = tables && new Set(tablesMeant(client, document, tables));
  const onIgnored = (seq: number, error: AntiphonError): void => {
    const why = error.message.replace(/^Entry \d+ of the log was quarantined: /, '');
    if (seq > FIRST_RECORD_SEQ) onProblem(`Entry ${seq} of the log is ignored: ${sentence(why)}`);
  };
  const verdicts = new GroupVerdicts({ client, onProblem, signal });
  const rejectedIn: GroupVerdicts['rejectedIn'] = (seq, batches) => verdicts.rejectedIn(seq, batches);
  const patience = new Patience({ client, onProblem, signal });
  const isMember = (origin: string): Promise<boolean> => patience.until(() => client.isKnownMember(origin));
  const isWanted = (table: string): boolean => wanted?.has(table) ?? true;
  const rulesNow = currentRules(client, document);
  const rules: LogChangesOptions['rules'] = () => patience.until(rulesNow);
  const epochs = new KnownEpochs(document, start.start);
  const given = { log, rules, ...epochs.asked, isMember, isWanted, rejectedIn, onIgnored, signal };
  yield* throughout({ ...given, ...start }, new MemberCoverage(client, log), patience);
}

/** Reads the log again for what replicas took only after the stream had passed it. */
async function* throughout(
  options: LogChangesOptions & { readonly log: Log },
  coverage: MemberCoverage,
  patience: Patience,
): AsyncGenerator<LoggedChange, void, undefined> {
  const { log, signal } = options;
  let { start } = options;
  const looks = new SecondLooks();
  let toldSeq = 0;
  const onIgnored: LogChangesOptions['onIgnored'] = (seq, error) => {
    if (seq > toldSeq) options.onIgnored(seq, error);
  };
  for (;;) {
    let missed: TransactionId | undefined;
    const isMissing = (place: ChangeCursor, seq: number): boolean => {
      missed = coverage.missedBy(place, seq);
      if (missed !== undefined) [start, toldSeq] = [place, Math.max(toldSeq, seq)];
      return missed !== undefined;
    };
    const look = await patience.until(() => looks.at(log, start, signal));
    const again = look && { start: look.place, again: look.order };
    const read: Log['read'] = (where) => patience.until(() => log.read(where));
    yield* logChanges({ ...options, log: { read }, start, isMissing, onIgnored, ...again });
    if (missed === undefined) return;
    if (!looks.misses(missed)) throw notInLog(missed);
  }
}

function notInLog(id: TransactionId): AntiphonError {
  const what = `Transaction ${formatTransactionId(id)}, which a replica has, is not in the log any more`;
  return new AntiphonError(
    'PLACE_LOST',
    `${what}, or cannot be read there. Begin again from now, and read its rows with a query.`,
  );
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
    : replicatedNames(tables, usersTables(document.schema.tables), `Cluster ${cluster}`);
}

type Place = 'now' | 'beginning' | ChangeCursor;

/** Throws BAD_OPTION. */
function placeGiven(from: unknown): Place {
  if (from === 'now' || from === 'beginning') return from;
  if (typeof from === 'string') return parseCursor(from);
  const { generation, seq } = (from ?? {}) as Partial<ChangeCursor>;
  if (typeof generation === 'string' && typeof seq === 'number') return from as ChangeCursor;
  throw new AntiphonError('BAD_OPTION', "`from` must be 'now', 'beginning', or the `cursor` of a change.");
}

type Start = Pick<LogChangesOptions, 'start' | 'isOld'>;

async function startOf(client: ClusterClient, log: Log, from: Place, signal: AbortSignal): Promise<Start> {
  const { generation, firstSeq, lastSeq } = await log.open({ create: false, signal });
  if (from === 'beginning') return { start: begin(generation, Math.max(1, firstSeq), firstSeq > 1) };
  if (from !== 'now') return { start: await placeOf(log, from, signal) };
  const [id] = await client.answering();
  if (id === undefined) return { start: begin(generation, lastSeq + 1, true) };
  const standing = await client.replica(id).ask('standing');
  const { seq: passedSeq, vector, partial, publishedCounter, epoch } = standing;
  const seq = passedSeq + 1;
  const get = (at: number): ReturnType<typeof log.get> => log.get(at, signal);
  const open = await findOpenParts(get, { seq, vector, partial }, firstSeq);
  // What it has committed and not published yet was before, and may never come into the log.
  const own = counterOf(vector, id);
  const start = {
    ...{ generation, seq, vector: { ...vector, [id]: Math.min(publishedCounter, own) }, inside: {} },
    ...open,
    ...(epoch && { epoch }),
  };
  return { start, isOld: ({ origin, counter }) => origin === id && counter <= own };
}

async function placeOf(log: Log, from: ChangeCursor, signal: AbortSignal): Promise<ChangeCursor> {
  const found = await findPlace(log, from, signal);
  if ('place' in found) return found.place;
  const message = `The changes cannot be followed from this cursor. ${found.lost} Begin from now, or from the beginning.`;
  throw new AntiphonError('PLACE_LOST', message);
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
    const newer = await clusterDocument(client);
    readAtMs = performance.now();
    rules = newer === undefined ? rules : rulesOf(newer);
    return rules;
  };
}

/** The epochs that the stream has read, to read on from in between. */
class KnownEpochs {
  readonly #epochs: Epoch[];

  constructor(document: ClusterDocument | undefined, { isPartial }: ChangeCursor) {
    // What lies before a place that nobody has described is not known.
    const isKnown = document !== undefined && isPartial !== true;
    this.#epochs = isKnown
      ? [firstEpoch(soleWriter(document.topology), document.failover === undefined)]
      : [];
  }

  get asked(): Pick<LogChangesOptions, 'epochAt' | 'onEpoch'> {
    return {
      epochAt: (seq) => (this.#epochs.length === 0 ? undefined : epochAt(this.#epochs, seq)),
      onEpoch: (epoch) => {
        const newest = this.#epochs.at(-1);
        if (newest === undefined || epoch.number > newest.number) this.#epochs.push(epoch);
      },
    };
  }
}
