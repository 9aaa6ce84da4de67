import { type AgreedLimits, type LimitsFrom, limitsDifference } from './agreed-limits.js';
import { type Topology, describeTopology, parseTopology, soleWriter, formerTopology } from './topology.js';
import { failoverDifference, type FailoverSettings, parseFailover } from './failover.js';
import { type UpdateSettings, describeUpdate, parseUpdate } from './update.js';
import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import { DEFAULT_ROW_LIMITS } from '../codec/limits.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import { usersTables } from '../model/requests-table.js';
import type { ClusterSchema, TableSchema } from '../model/schema.js';
import { isSameName } from '../model/sql-name.js';

export const CLUSTER_KEY = 'cluster';
const FORMAT = 1;
/** With failover: a build that knows no epochs would go on applying a deposed primary. */
const FORMAT_WITH_EPOCHS = 2;

/**
 * What all replicas agree on; the first one writes it into the registry. `creating`: its creator
 * has not brought its tables and rows yet, and nobody may join. Only the creator goes on from
 * there, so a crash in between is repaired by starting it again.
 */
export interface ClusterDocument {
  readonly state: 'creating' | 'ready';
  readonly cluster: string;
  readonly creator: string;
  /**
   * The creator was named by another replica, and has not begun: whoever may found the cluster may
   * begin.
   */
  readonly unclaimed?: boolean;
  readonly createdAtMs: number;
  /** Of the log. */
  readonly generation: string;
  readonly schema: ClusterSchema;
  readonly topology: Topology;
  readonly update: UpdateSettings;
  /** Absent: the primary of the topology is the primary for good. */
  readonly failover?: FailoverSettings;
  readonly rowVersions: boolean;
  /** By which messages are judged; the first element is valid from the beginning of the log. */
  readonly limits: readonly LimitsFrom[];
  /** The creator's rows are its transactions up to this one; unknown while it is creating. */
  readonly foundingCounter: number;
}

export function encodeClusterDocument(document: ClusterDocument): Uint8Array {
  const format = document.failover === undefined ? FORMAT : FORMAT_WITH_EPOCHS;
  return encodeControl({ format, ...document });
}

/** Throws UNSUPPORTED_FORMAT, MALFORMED_MESSAGE. */
export function decodeClusterDocument(data: Uint8Array): ClusterDocument {
  const input = decodeControl(data);
  if (!isRecord(input) || typeof input['format'] !== 'number') throw malformed();
  if (![FORMAT, FORMAT_WITH_EPOCHS].includes(input['format'])) {
    throw new AntiphonError(
      'UNSUPPORTED_FORMAT',
      `The cluster's description has format ${String(input['format'])}, and this build knows formats up to ${FORMAT_WITH_EPOCHS}. Upgrade this replica.`,
    );
  }
  const {
    state,
    cluster,
    creator,
    unclaimed,
    createdAtMs,
    generation,
    schema,
    topology,
    update,
    failover,
    rowVersions,
    limits,
    foundingCounter,
  } = input;
  if (state !== 'creating' && state !== 'ready') throw malformed();
  if (typeof cluster !== 'string' || typeof creator !== 'string' || typeof generation !== 'string')
    throw malformed();
  if (typeof rowVersions !== 'boolean') throw malformed();
  return {
    state,
    cluster,
    creator,
    ...(unclaimed === true && { unclaimed }),
    createdAtMs: Number(createdAtMs),
    generation,
    schema: parseSchema(schema),
    topology: formerTopology(topology) ?? parseTopology(topology),
    // Before there were two modes, the description did not name one.
    update: parseUpdate(update ?? { mode: 'async' }),
    ...(failover !== undefined && { failover: parseFailover(failover) }),
    rowVersions,
    limits: parseLimits(limits),
    foundingCounter: Number(foundingCounter ?? 0),
  };
}

/** A page says how. */
export const FAILOVER_IS_FOR_NEW_CLUSTERS =
  'A cluster has failover from its creation on, or never: leave `failover` out here, or create a new cluster from ' +
  'the file of the primary (docs/failover.md, "A cluster without failover")';

/** What this replica's settings say otherwise, one sentence each; nothing when they agree. */
export function settingsDifference(
  document: ClusterDocument,
  settings: {
    readonly topology: Topology | undefined;
    readonly update: UpdateSettings;
    /** Absent: as the cluster has it. */
    readonly failover: FailoverSettings | undefined;
    readonly tables: readonly string[] | undefined;
    readonly givenLimits: Partial<AgreedLimits>;
  },
): readonly string[] {
  const differences: string[] = [];
  const theirs = describeTopology(document.topology);
  const ours = settings.topology === undefined ? theirs : describeTopology(settings.topology);
  if (ours !== theirs) differences.push(`topology: here ${ours}, the cluster has ${theirs}`);
  const [ourUpdate, theirUpdate] = [describeUpdate(settings.update), describeUpdate(document.update)];
  if (ourUpdate !== theirUpdate)
    differences.push(`update: here ${ourUpdate}, the cluster has ${theirUpdate}`);
  if (settings.failover !== undefined) {
    const difference = failoverDifference(settings.failover, document.failover);
    const wayOut = document.failover === undefined ? `. ${FAILOVER_IS_FOR_NEW_CLUSTERS}` : '';
    if (difference !== undefined)
      differences.push(`failover: here ${difference[0]}, the cluster has ${difference[1]}${wayOut}`);
  }
  if (settings.tables !== undefined) {
    const agreed = usersTables(document.schema.tables).map((table) => table.name);
    const ours = settings.tables;
    const onlyHere = ours.filter((name) => !agreed.some((other) => isSameName(name, other)));
    const onlyThere = agreed.filter((name) => !ours.some((other) => isSameName(name, other)));
    if (onlyHere.length > 0) differences.push(`tables only here: ${onlyHere.join(', ')}`);
    if (onlyThere.length > 0) differences.push(`tables only in the cluster: ${onlyThere.join(', ')}`);
  }
  return [...differences, ...limitsDifference(document.limits, settings.givenLimits)];
}

function parseSchema(input: unknown): ClusterSchema {
  if (!isRecord(input) || !Array.isArray(input['tables']) || !isRecord(input['ddl'])) throw malformed();
  const { engine, statements } = input['ddl'];
  if (typeof engine !== 'string' || !isStrings(statements)) throw malformed();
  const version = Number(input['version']);
  if (!Number.isSafeInteger(version) || version < 1) throw malformed();
  return { version, tables: input['tables'].map(parseTable), ddl: { engine, statements } };
}

function parseLimits(input: unknown): readonly LimitsFrom[] {
  if (!Array.isArray(input) || input.length === 0) throw malformed();
  return input.map((one: unknown) => {
    if (!isRecord(one)) throw malformed();
    const [fromSeq, clockRefusalMs] = [Number(one['fromSeq']), Number(one['clockRefusalMs'])];
    // Before rows had limits, the description named none.
    const { valueBytes, rowBytes } = { ...DEFAULT_ROW_LIMITS, ...one };
    if (!Number.isSafeInteger(fromSeq) || !(clockRefusalMs > 0)) throw malformed();
    if (!(Number(valueBytes) > 0) || !(Number(rowBytes) >= Number(valueBytes))) throw malformed();
    return { fromSeq, clockRefusalMs, valueBytes: Number(valueBytes), rowBytes: Number(rowBytes) };
  });
}

function parseTable(input: unknown): TableSchema {
  if (!isRecord(input)) throw malformed();
  const { name, columns, key, rules } = input;
  if (typeof name !== 'string' || !Array.isArray(columns) || !Array.isArray(key) || key.length === 0)
    throw malformed();
  return {
    name,
    columns: columns.map((column: unknown) => {
      if (!isRecord(column) || typeof column['name'] !== 'string') throw malformed();
      const { declaredType } = column;
      return { name: column['name'], declaredType: typeof declaredType === 'string' ? declaredType : '' };
    }),
    key: key.map(Number),
    ...(isStrings(rules) ? { rules } : {}),
  };
}

function isStrings(input: unknown): input is readonly string[] {
  return Array.isArray(input) && input.every((item) => typeof item === 'string');
}

function malformed(): AntiphonError {
  return new AntiphonError(
    'MALFORMED_MESSAGE',
    `The cluster's description in the registry (key ${CLUSTER_KEY}) cannot be read. Find out who wrote it.`,
  );
}

/** Groups of several writers are certified; a single writer's are in order already. */
export function isCertified({ topology, update }: Pick<ClusterDocument, 'topology' | 'update'>): boolean {
  return update.mode === 'sync' && soleWriter(topology) === undefined;
}
