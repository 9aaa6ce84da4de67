import {
  agreedOf,
  AntiphonError,
  assertSensible,
  CLUSTER_KEY,
  type ClusterDocument,
  type ClusterSchema,
  encodeClusterDocument,
  findClusterDocument,
  type FoundDocument,
  creationRemarks,
  type InspectOptions,
  type LogIdentity,
  primaryReplicaOf,
  replicatedTables,
  settingsDifference,
  sleep,
  soleWriter,
  stayingBehind,
  type StoreIdentity,
  type StoreInspection,
  type Topology,
  type UpdateSettings,
} from '@antiphon/core';
import { assertSupported, assertTables } from './assert-supported.js';
import { contentDifference } from './content-difference.js';
import { retrying, type Deadline } from '../wait/deadline.js';
import type { Settings } from '../config/options.js';

const WAIT_MS = 100;

/** What the database is to become, once the cluster has been agreed with. */
export interface Agreement {
  readonly document: ClusterDocument;
  readonly identity: StoreIdentity;
  readonly createTables: boolean;
  readonly sealExistingRows: boolean;
  /** The document's revision while this replica is still creating the cluster. */
  readonly creating?: number;
  /** The log is not the one of the cluster or of this database: start stalled (I14). */
  readonly replaced?: AntiphonError;
}

/**
 * Agrees with the cluster, or creates it. Changes nothing in the database. The order is what makes
 * a crash harmless: the document (`creating`, with its creator) comes before the database becomes a
 * replica, `ready` comes after; a creator that finds its own unfinished document goes on with it.
 */
export async function joinCluster(settings: Settings, deadline: Deadline): Promise<Agreement> {
  const { clock, registry } = settings;
  const inspection = await deadline.paused(() => settings.store.inspect(inspectOptions(settings)));
  assertOwnDatabase(settings, inspection.identity);
  await retrying(clock, deadline, () => registry.open());
  const find = (): Promise<FoundDocument | undefined> =>
    retrying(clock, deadline, () => findClusterDocument(registry, inspection.agreement));
  let found = await find();
  for (;;) {
    const agreement =
      found === undefined
        ? await createCluster(settings, inspection, deadline)
        : await joinExisting(settings, inspection, found, deadline);
    if (agreement !== undefined) {
      if (found?.passedOver !== undefined) settings.logger.warn({}, found.passedOver.message);
      return agreement;
    }
    await sleep(clock, Math.min(WAIT_MS, deadline.leftMs), deadline.signal).catch(() => undefined);
    deadline.assertWanted();
    if (deadline.passed) throw notYet(settings, found, inspection);
    try {
      found = await find();
    } catch (error) {
      // It has answered until now.
      deadline.assertWanted();
      if (deadline.passed && settings.log.connection === 'connected')
        throw notYet(settings, found, inspection);
      throw error;
    }
  }
}

/** Says that the creator's tables and rows are in its database: others may join. */
export async function finishCreating(
  settings: Settings,
  agreement: Agreement,
  deadline: Deadline,
): Promise<ClusterDocument> {
  const { creating } = agreement;
  if (creating === undefined) return agreement.document;
  const foundingCounter = settings.store.state().lastCounter;
  const document: ClusterDocument = { ...agreement.document, state: 'ready', foundingCounter };
  const data = encodeClusterDocument(document);
  const updated = await retrying(settings.clock, deadline, () =>
    settings.registry.update(CLUSTER_KEY, data, creating),
  );
  if (updated !== undefined) return document;
  const now = await retrying(settings.clock, deadline, () => findClusterDocument(settings.registry));
  // An update without an answer may have been done: only the document tells.
  if (now?.document.state === 'ready') return now.document;
  throw mismatch(settings, [
    'another process changed the description of the cluster at the same time. Start again',
  ]);
}

function inspectOptions({ tables, localTriggers }: Settings): InspectOptions {
  return { ...(tables && { tables }), ...(localTriggers && { localTriggers }) };
}

async function createCluster(
  settings: Settings,
  inspection: StoreInspection,
  deadline: Deadline,
): Promise<Agreement | undefined> {
  const { clock, registry } = settings;
  if (inspection.identity !== undefined) throw registryLost(settings);
  if (!isCreator(settings, inspection)) return undefined;
  const document = await newDocument(settings, inspection, deadline);
  const created = await retrying(clock, deadline, () =>
    registry.create(CLUSTER_KEY, encodeClusterDocument(document)),
  );
  // Somebody else was first, or our own try had no answer: read it.
  if (created === undefined) return undefined;
  return creation(settings, inspection, document, created.revision);
}

/**
 * An empty replica that happens to start first must not found a cluster of nothing. Throws when it
 * is not empty and has none of the tables that were named: it would wait for a slip of the pen.
 */
function isCreator(settings: Settings, inspection: StoreInspection): boolean {
  const primary = soleWriter(topologyOf(settings));
  if (primary !== undefined && primary !== settings.id) return false;
  const { tables = [], otherTables = [] } = inspection;
  if (settings.tables === undefined) return replicatedTables(inspection).length > 0;
  if (tables.length === 0 && otherTables.length > 0) assertTables(settings, inspection);
  return tables.length > 0;
}

function topologyOf({ id, topology = primaryReplicaOf(id) }: Settings): Topology {
  return topology;
}

/**
 * What this replica creates, of its tables and settings as they are now, on a log without a past.
 */
async function newDocument(
  settings: Settings,
  inspection: StoreInspection,
  deadline: Deadline,
): Promise<ClusterDocument> {
  const { cluster, id, clock, log, limits, update, failover } = settings;
  const topology = topologyOf(settings);
  const rowVersions = needsRowVersions(topology, update);
  if (failover !== undefined && soleWriter(topology) === undefined)
    throw new AntiphonError(
      'BAD_OPTION',
      '`failover` has no meaning where every replica writes. Leave it out, or give topology primary-replica.',
    );
  assertSensible(limits);
  await assertSupported(settings, inspection, { rowVersions, deadline });
  const logIdentity = await retrying(clock, deadline, () =>
    log.open({ create: true, signal: deadline.signal }),
  );
  await assertUnused(settings, logIdentity, deadline);
  return {
    state: 'creating',
    cluster,
    creator: id,
    createdAtMs: clock.nowMs(),
    generation: logIdentity.generation,
    schema: schemaOf(inspection, failover !== undefined),
    topology,
    update,
    ...(failover && { failover }),
    rowVersions,
    limits: [{ fromSeq: 0, ...agreedOf(limits) }],
    foundingCounter: 0,
  };
}

/** Where the primary may change, the next one must know which requests were written. */
function schemaOf(inspection: StoreInspection, remembers: boolean): ClusterSchema {
  const tables = replicatedTables(inspection).map((table) => table.schema);
  const { ddl, requests } = inspection;
  if (!remembers || requests === undefined) return { version: 1, tables, ddl };
  const { engine, statements } = ddl;
  return {
    version: 1,
    tables: [...tables, requests.table],
    ddl: { engine, statements: [...statements, ...requests.statements] },
  };
}

async function joinExisting(
  settings: Settings,
  inspection: StoreInspection,
  { document, revision }: FoundDocument,
  deadline: Deadline,
): Promise<Agreement | undefined> {
  const { clock, log } = settings;
  const isCreating = document.state === 'creating';
  const isOurs = document.creator === settings.id || document.unclaimed === true;
  // What binds nobody yet may still become something else.
  if (isCreating && !isOurs) return undefined;
  if (isCreating && inspection.identity === undefined)
    return foundAgain(settings, inspection, document, revision, deadline);
  const differences = settingsDifference(document, settings);
  if (differences.length > 0) throw mismatch(settings, differences);
  const logIdentity = await retrying(clock, deadline, () =>
    openLog(log.open({ create: false, signal: deadline.signal })),
  );
  const agreement = member(settings, document, inspection, logIdentity);
  return isCreating ? { ...agreement, creating: revision } : agreement;
}

/** A replaced log is a state to start in, not an error, when the database is a replica already. */
async function openLog(opening: Promise<LogIdentity>): Promise<LogIdentity | AntiphonError> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'LOG_REPLACED') return error;
    throw error;
  }
}

function member(
  settings: Settings,
  document: ClusterDocument,
  inspection: StoreInspection,
  logIdentity: LogIdentity | AntiphonError,
): Agreement {
  const { identity } = inspection;
  const replaced = replacedLog(settings, document, identity, logIdentity);
  if (identity !== undefined) {
    return {
      document,
      identity,
      createTables: false,
      sealExistingRows: false,
      ...(replaced && { replaced }),
    };
  }
  if (replaced !== undefined) throw replaced;
  const differences = contentDifference(inspection.tables, document.schema, settings.tables !== undefined);
  if (differences.length > 0) {
    throw new AntiphonError(
      'STORE_CONTENT',
      `This database has content of its own, and cluster ${document.cluster} already exists. They are never merged. ` +
        `Start with an empty database. What differs: ${differences.join('; ')}.`,
      { context: { cluster: document.cluster, replica: settings.id, differences } },
    );
  }
  return { document, identity: newIdentity(settings, document), createTables: true, sealExistingRows: false };
}

/**
 * The creator crashed before its database became a replica, or the database could not become one.
 * Nobody has joined, so what was agreed on then binds nobody: its tables and settings may be others
 * now, and so may who creates it.
 */
async function foundAgain(
  settings: Settings,
  inspection: StoreInspection,
  known: ClusterDocument,
  revision: number,
  deadline: Deadline,
): Promise<Agreement | undefined> {
  const { clock, id, registry } = settings;
  const isOurs = isCreator(settings, inspection);
  const creator = soleWriter(topologyOf(settings)) ?? id;
  if (!isOurs && (known.creator !== id || creator === id)) return undefined;
  const document = isOurs
    ? await newDocument(settings, inspection, deadline)
    : { ...known, creator, unclaimed: true };
  const data = encodeClusterDocument(document);
  const updated = await retrying(clock, deadline, () => registry.update(CLUSTER_KEY, data, revision));
  if (updated === undefined || !isOurs) return undefined;
  return creation(settings, inspection, document, updated.revision);
}

function creation(
  settings: Settings,
  inspection: StoreInspection,
  document: ClusterDocument,
  revision: number,
): Agreement {
  const options = { named: settings.tables !== undefined, rowVersions: document.rowVersions };
  for (const remark of creationRemarks(inspection, options)) settings.logger.warn({}, remark);
  const identity = newIdentity(settings, document);
  return { document, identity, createTables: false, sealExistingRows: true, creating: revision };
}

/** Where the log decides every conflict before anything is committed, rows need no versions. */
function needsRowVersions(topology: Topology, update: UpdateSettings): boolean {
  if (soleWriter(topology) !== undefined) return false;
  return update.mode === 'async' || update.foreignWrites === 'async';
}

function newIdentity(settings: Settings, document: ClusterDocument): StoreIdentity {
  const { cluster, id } = settings;
  return { cluster, replica: id, generation: document.generation, schemaVersion: document.schema.version };
}

function replacedLog(
  settings: Settings,
  document: ClusterDocument,
  identity: StoreIdentity | undefined,
  log: LogIdentity | AntiphonError,
): AntiphonError | undefined {
  if (log instanceof AntiphonError) return log;
  const known = identity?.generation ?? document.generation;
  if (log.generation === known && document.generation === known) return undefined;
  return new AntiphonError(
    'LOG_REPLACED',
    `The log has generation ${log.generation}, the cluster ${document.generation}, this database ${known}: ` +
      'the stream was recreated. Nothing of it was applied here, and the database keeps its rows. Follow docs/lost-log.md.',
    { context: { cluster: settings.cluster, replica: settings.id } },
  );
}

function assertOwnDatabase(settings: Settings, identity: StoreIdentity | undefined): void {
  if (identity === undefined) return;
  if (identity.cluster === settings.cluster && identity.replica === settings.id) return;
  throw new AntiphonError(
    'STORE_CONTENT',
    `This database belongs to replica ${identity.replica} of cluster ${identity.cluster}, ` +
      `not to ${settings.id} of ${settings.cluster}. Use that id, or an empty database.`,
    { context: { cluster: settings.cluster, replica: settings.id } },
  );
}

/**
 * A log with a past, but no description of its cluster: the registry was lost, and a new cluster
 * would mix with the old.
 */
async function assertUnused(settings: Settings, identity: LogIdentity, deadline: Deadline): Promise<void> {
  // The first entry is the log's own identity record.
  if (identity.lastSeq <= 1) return;
  const { clock, log, id } = settings;
  const own = await retrying(clock, deadline, () => log.lastOf(id, deadline.signal));
  throw new AntiphonError(
    'CLUSTER_MISMATCH',
    `The log of ${settings.cluster} holds ${identity.lastSeq} entries${own === undefined ? '' : `, some of ${id}`}, ` +
      'but the registry does not describe the cluster. Restore the registry, or remove the stream to begin anew.',
    { context: { cluster: settings.cluster, replica: id } },
  );
}

function registryLost(settings: Settings): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `This database is a replica of cluster ${settings.cluster}, which does not exist at this NATS server. ` +
      'The database was not changed. Check `servers`, or restore its JetStream data (docs/lost-log.md).',
    { context: { cluster: settings.cluster, replica: settings.id } },
  );
}

function mismatch(settings: Settings, differences: readonly string[]): AntiphonError {
  return new AntiphonError(
    'CLUSTER_MISMATCH',
    `The settings of ${settings.id} differ from what cluster ${settings.cluster} agreed on: ${differences.join('; ')}.`,
    { context: { cluster: settings.cluster, replica: settings.id, differences } },
  );
}

function leftOutText(inspection: StoreInspection): string {
  const tables = stayingBehind(inspection).filter(({ type }) => type === 'table');
  if (tables.length === 0) return '';
  return ` (left out: ${tables.map(({ name, reason }) => `${name}, ${reason}`).join('; ')})`;
}

function notYet(
  settings: Settings,
  found: FoundDocument | undefined,
  inspection: StoreInspection,
): AntiphonError {
  const { cluster, id } = settings;
  const primary = settings.topology && soleWriter(settings.topology);
  const who =
    primary === undefined || primary === id ? 'the replica that has the tables' : `the primary ${primary}`;
  const creator = found?.document.creator ?? id;
  const message =
    creator === id
      ? `Cluster ${cluster} does not exist yet, and this replica has no tables to create it with${leftOutText(inspection)}. Start ${who} first.`
      : `Cluster ${cluster} is being created by ${creator}. Start that replica.`;
  return new AntiphonError('TIMEOUT', message, {
    context: { cluster: settings.cluster, replica: settings.id },
  });
}
