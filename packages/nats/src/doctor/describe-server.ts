import type { StreamInfo } from 'nats';
import type { NatsHandle } from '../connection/nats-handle.js';
import { ApiError, toPortError } from '../jetstream/api-error.js';
import { JetStreamOffError } from '../jetstream/jetstream-off.js';
import { checkOptions, isVersionAtLeast, OLDEST_SERVER_VERSION, type OptionNames } from '@antiphon/core';
import { streamName } from '../subjects.js';
import { measureClockDifference, type ClockDifference } from './clock-difference.js';
import { gradeDurability, type Durability } from './durability.js';
import { askMonitoring, monitorAddress, type Monitoring, type ServerStorage } from './monitoring.js';

/** Replicated streams of earlier releases can lose or reorder entries when the leader changes. */
const SAFE_REPLICATION_SINCE = '2.10.27';
const MAX_CLOCK_DIFFERENCE_MS = 1000;
const JETSTREAM_OFF = 'JetStream is off. Start nats-server with -js.';
const FEW_BYTES_LEFT = 0.1;

export interface ServerDescription {
  readonly servers: string;
  readonly serverName: string;
  readonly version: string;
  readonly rttMs: number;
  readonly jetstream: JetStreamDescription | undefined;
  /** Undefined: the cluster has no log here. */
  readonly log: LogDescription | undefined;
  /** Undefined without a log to measure it by. */
  readonly clock: ClockDifference | undefined;
  /** Each one says what to do. */
  readonly warnings: readonly string[];
}

export interface JetStreamDescription {
  /** Of this account. */
  readonly storageBytes: number;
  /** Of this account; -1: it has no limit of its own. */
  readonly maxStorageBytes: number;
  /** Of the server, for all accounts; only its monitoring tells. */
  readonly server?: ServerStorage;
  readonly streams: number;
  readonly maxStreams: number;
  readonly consumers: number;
  readonly maxConsumers: number;
}

export interface LogDescription {
  readonly stream: string;
  readonly created: string;
  readonly replicas: number;
  readonly storage: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bytes: number;
  /** `max_bytes` of the stream; -1: none. */
  readonly maxBytes: number;
  /** How many entries between the first and the last are gone. Absent: none. */
  readonly removed?: number;
  readonly durability: Durability;
}

export interface DescribeOptions {
  /** Whose log to look at. */
  readonly cluster?: string;
  /**
   * `http://host:8222`, if the server's monitoring is on: tells how often it fsyncs. What does not
   * answer, or is another server's, is a warning.
   */
  readonly monitorUrl?: string;
}

const DESCRIBE_OPTIONS: OptionNames<DescribeOptions> = { cluster: true, monitorUrl: true };

/**
 * What an operator wants to know of the NATS server under a cluster. Reads only.
 * @throws AntiphonError LOG_UNAVAILABLE when the server does not answer at all, BAD_OPTION
 */
export async function describeServer(
  handle: NatsHandle,
  options: DescribeOptions = {},
): Promise<ServerDescription> {
  checkOptions(options, DESCRIBE_OPTIONS, 'describeServer()');
  const { monitorUrl } = options;
  const monitor = monitorUrl === undefined ? undefined : monitorAddress(monitorUrl, 'monitorUrl');
  const rttMs = await handle.rtt();
  const info = handle.serverInfo;
  const version = info?.version ?? 'unknown';
  const described = info?.jetstream === true ? await describeJetStream(handle) : undefined;
  const jetstream = described instanceof JetStreamOffError ? undefined : described;
  const stream =
    jetstream === undefined || options.cluster === undefined
      ? undefined
      : await findLog(handle, options.cluster);
  const monitoring = monitor && (await askMonitoring(monitor, info));
  const storage = monitoring !== undefined && 'storage' in monitoring ? monitoring.storage : undefined;
  const log = stream === undefined ? undefined : describeLog(stream, version, monitoring);
  const clock = log === undefined ? undefined : await measureClockDifference(handle.api, log.stream);
  const facts = {
    servers: handle.servers,
    serverName: info?.server_name ?? '',
    version,
    rttMs,
    jetstream: jetstream && { ...jetstream, ...(storage && { server: storage }) },
    log,
    clock,
  };
  const off = described instanceof JetStreamOffError ? described.message : JETSTREAM_OFF;
  const unanswered = monitoring !== undefined && 'problem' in monitoring ? [monitoring.problem] : [];
  return { ...facts, warnings: [...warningsOf(facts, stream, off), ...unanswered] };
}

/** The server may have JetStream, and this account not. */
async function describeJetStream(handle: NatsHandle): Promise<JetStreamDescription | JetStreamOffError> {
  const account = await handle.api.accountInfo().catch((error: unknown) => {
    if (error instanceof JetStreamOffError) return error;
    throw toPortError(error, {});
  });
  if (account instanceof JetStreamOffError) return account;
  const { storage, streams, consumers, limits } = account;
  return {
    storageBytes: storage,
    maxStorageBytes: limits.max_storage,
    streams,
    maxStreams: limits.max_streams,
    consumers,
    maxConsumers: limits.max_consumers,
  };
}

async function findLog(handle: NatsHandle, cluster: string): Promise<StreamInfo | undefined> {
  try {
    return await handle.api.streamInfo(streamName(cluster));
  } catch (error) {
    if (error instanceof ApiError && error.noStream) return undefined;
    throw toPortError(error, { cluster });
  }
}

function describeLog(
  { config, state, created }: StreamInfo,
  serverVersion: string,
  monitoring: Monitoring | undefined,
): LogDescription {
  const storage = String(config.storage);
  const replicas = config.num_replicas;
  const syncsAlways =
    monitoring !== undefined && 'syncsAlways' in monitoring ? monitoring.syncsAlways : undefined;
  return {
    stream: config.name,
    created,
    replicas,
    storage,
    firstSeq: state.first_seq,
    lastSeq: state.last_seq,
    bytes: state.bytes,
    maxBytes: config.max_bytes > 0 ? config.max_bytes : -1,
    ...(state.num_deleted > 0 && { removed: state.num_deleted }),
    durability: gradeDurability({ serverVersion, storage, replicas, syncsAlways }),
  };
}

function* warningsOf(
  facts: Omit<ServerDescription, 'warnings'>,
  stream: StreamInfo | undefined,
  off: string,
): Iterable<string> {
  const { version, jetstream, log, clock } = facts;
  if (!isVersionAtLeast(version, OLDEST_SERVER_VERSION)) {
    yield (
      `nats-server ${version} is older than ${OLDEST_SERVER_VERSION}, the oldest one that Antiphon is ` +
      'built for. Upgrade it.'
    );
  }
  if (jetstream === undefined) yield off;
  else yield* storageWarnings(jetstream);
  if (log !== undefined && isNearlyFull(log.bytes, log.maxBytes))
    yield (
      `The log has used ${log.bytes} of ${log.maxBytes} bytes. Raise max_bytes of the stream ` +
      `${log.stream}: the log must keep every entry.`
    );
  if (log !== undefined && log.replicas > 1 && !isVersionAtLeast(version, SAFE_REPLICATION_SINCE)) {
    yield (
      `The log has ${log.replicas} replicas on nats-server ${version}. Upgrade to ` +
      `${SAFE_REPLICATION_SINCE} or later: earlier ones can lose entries when the leader changes.`
    );
  }
  if (log?.durability.grade === 'memory') yield log.durability.sentence;
  if (stream !== undefined) yield* configurationWarnings(stream);
  if (stream !== undefined) yield* singleServerWarnings(stream);
  if (clock !== undefined && Math.abs(clock.differenceMs) - clock.uncertaintyMs > MAX_CLOCK_DIFFERENCE_MS) {
    yield (
      `The server's clock differs from this machine's by ${Math.round(clock.differenceMs)} ms. Keep ` +
      'both synchronized with NTP.'
    );
  }
}

function* storageWarnings({ storageBytes, maxStorageBytes, server }: JetStreamDescription): Iterable<string> {
  const remedy = 'or remove streams of other programs: the log itself must keep every entry.';
  if (isNearlyFull(storageBytes, maxStorageBytes))
    yield (
      `JetStream has used ${storageBytes} of ${maxStorageBytes} bytes that this account may store. ` +
      `Raise its limit, ${remedy}`
    );
  if (server !== undefined && isNearlyFull(server.storageBytes, server.maxStorageBytes))
    yield (
      `JetStream has used ${server.storageBytes} of ${server.maxStorageBytes} bytes that the server ` +
      `may store for all accounts. Raise max_file_store, ${remedy}`
    );
}

function isNearlyFull(bytes: number, maxBytes: number): boolean {
  return maxBytes > 0 && bytes > (1 - FEW_BYTES_LEFT) * maxBytes;
}

/** Several servers, and what they are there for does not happen. */
function* singleServerWarnings({ config, cluster }: StreamInfo): Iterable<string> {
  if (cluster?.name === undefined || config.num_replicas > 1) return;
  yield (
    `The NATS cluster ${cluster.name} keeps the log on one server, ${cluster.leader ?? 'which is away'}: ` +
    'while that one is away, nothing is replicated. ' +
    `Run \`nats stream edit ${config.name} --replicas 3\`, and the same for the streams of its lease, ` +
    'registry and published changes (`nats stream ls --all`). Create the next cluster with `streamReplicas: 3`.'
  );
}

/** What somebody may have changed so that the log drops entries which a replica still needs. */
function* configurationWarnings({ config }: StreamInfo): Iterable<string> {
  const dropping = [
    ...(config.max_age > 0 ? ['max_age'] : []),
    ...(config.max_msgs > 0 ? ['max_msgs'] : []),
    ...(config.max_msgs_per_subject > 0 ? ['max_msgs_per_subject'] : []),
    ...(String(config.discard) === 'old' && config.max_bytes > 0 ? ['discard: old'] : []),
  ];
  if (dropping.length === 0) return;
  yield (
    `The stream ${config.name} drops entries (${dropping.join(', ')}). Remove these limits: a replica ` +
    'that was away could not catch up.'
  );
}
