import {
  AntiphonError,
  checkOptions,
  OPTION,
  type OptionNames,
  parsePublish,
  type PublishOptions,
  readSubject,
  serviceName,
  writeSubject,
} from '@antiphon/core';
import {
  beatSubject,
  beatSubjects,
  clusterPrefix,
  durableName,
  identitySubject,
  leaseStream,
  leaseSubject,
  logSubject,
  registryBucket,
  replicaSubjects,
  streamName,
} from './subjects.js';

/**
 * `replica`: one that joins. `creator`: the first one, which makes the streams as well. `reader`:
 * the command line without writing (`status`, `query`, `outcome`, `changes`, `subscriptions`,
 * `explain-candidate`, `doctor`). `admin`: all of it. `client`: an application, by `connect()` of
 * `@antiphon/client` or by the subjects `antiphon.<cluster>.read` and `.write`. `client-reader`:
 * one that does not write.
 */
export type AccessRole = 'replica' | 'creator' | 'reader' | 'admin' | 'client-reader' | 'client';

/** As in the `permissions` of a user of nats-server. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export interface PermissionOptions {
  /** Of the replica; the roles that are not a replica's need none. */
  readonly id?: string;
  /** As in the options of the connection. */
  readonly inboxPrefix?: string;
  /** As in the options of a replica that publishes changes. */
  readonly publish?: PublishOptions;
  /** For a replica that answers on the subjects of its cluster (`subjects` in antiphon.yaml). */
  readonly subjects?: boolean;
}

const PERMISSION_OPTIONS: OptionNames<PermissionOptions> = {
  ...{ id: true, inboxPrefix: true, publish: true },
  subjects: OPTION.flag,
};

const READING_COMMANDS = [
  ...[
    'ping',
    'status',
    'standing',
    'beat',
    'candidacy',
    'query',
    'stream',
    'outcome',
    'outcomes',
    'checksum',
    'rowDigests',
  ],
  ...['quarantine', 'quarantined', 'epochs', 'rescues', 'rescued', 'rescuedData', 'conflicts'],
] as const;

/** What `connect()` of `@antiphon/client` asks replicas for. */
const CLIENT_COMMANDS = ['ping', 'status', 'standing', 'beat', 'query', 'stream', 'outcomes'] as const;

/**
 * The least that nats-server has to permit for a role in a cluster. docs/access.md shows it as a
 * table; a test runs a cluster with it.
 *
 * @throws AntiphonError BAD_OPTION
 */
export function permissionsOf(
  role: AccessRole,
  cluster: string,
  options: PermissionOptions = {},
): Permissions {
  checkOptions(options, PERMISSION_OPTIONS, 'permissionsOf()');
  const { id, inboxPrefix = '_INBOX', publish, subjects = false } = options;
  if (role === 'replica' || role === 'creator') {
    if (id === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `The permissions of a ${role} are those of one replica. Give its id.`,
      );
    }
    const permissions = replicaPermissions(role, cluster, id, inboxPrefix);
    return {
      publish: [...permissions.publish, ...(publish === undefined ? [] : publishing(cluster, publish))],
      subscribe: [...permissions.subscribe, ...(subjects ? answering(cluster, id) : [])],
    };
  }
  if (role === 'client' || role === 'client-reader') return clientPermissions(role, cluster, inboxPrefix);
  const mailboxes = `${clusterPrefix(cluster)}.replica`;
  const commands = READING_COMMANDS.map((command) => `${mailboxes}.*.${command}`);
  // `settings set` and `subscriptions --remove` work while no replica runs.
  const keys = ['cluster', 'subscription.*'].map((key) => `$KV.${registryBucket(cluster)}.${key}`);
  const admin = [`${mailboxes}.*.*`, ...keys];
  return {
    publish: [...reading(cluster), ...(role === 'admin' ? admin : commands)],
    subscribe: [beatSubjects(cluster), `${inboxPrefix}.>`],
  };
}

function replicaPermissions(
  role: 'replica' | 'creator',
  cluster: string,
  id: string,
  inboxPrefix: string,
): Permissions {
  const prefix = clusterPrefix(cluster);
  const [stream, bucket] = [streamName(cluster), registryBucket(cluster)];
  const create = [`$JS.API.STREAM.CREATE.${stream}`, `$JS.API.STREAM.CREATE.KV_${bucket}`];
  return {
    publish: [
      logSubject(cluster, id),
      logSubject(cluster, '_insync'),
      logSubject(cluster, '_barrier'),
      logSubject(cluster, '_epoch'),
      // Written again when somebody has trimmed the stream.
      identitySubject(cluster),
      beatSubject(cluster, id),
      leaseSubject(cluster),
      `${prefix}.ack.>`,
      `${prefix}.replica.*.*`,
      // Answers to whoever asks; a server with `allow_responses` needs no such permission.
      '_INBOX.>',
      // The server's own inbox, for whoever asks from another account.
      '_R_.>',
      ...(inboxPrefix === '_INBOX' ? [] : [`${inboxPrefix}.>`]),
      ...reading(cluster),
      `$JS.ACK.${stream}.${durableName(id)}.>`,
      // Whoever runs writes again what somebody has deleted or overwritten.
      `$KV.${bucket}.cluster`,
      `$KV.${bucket}.in-sync`,
      // Its own record, and that of a member which it is asked to remove.
      `$KV.${bucket}.member.*`,
      `$KV.${bucket}.subscription.*`,
      // Whoever made it may be the one that is gone.
      `$JS.API.STREAM.CREATE.${leaseStream(cluster)}`,
      ...(role === 'creator' ? create : []),
    ],
    subscribe: [
      beatSubjects(cluster),
      leaseSubject(cluster),
      replicaSubjects(cluster, id),
      `${prefix}.ack.${id}.*`,
      `${inboxPrefix}.>`,
    ],
  };
}

/** Its own answers, and those of any other replica where it has gone. */
function clientPermissions(
  role: 'client' | 'client-reader',
  cluster: string,
  inboxPrefix: string,
): Permissions {
  const mailboxes = `${clusterPrefix(cluster)}.replica.*`;
  const writing = [writeSubject(cluster), `${mailboxes}.execute`];
  return {
    publish: [
      readSubject(cluster),
      ...CLIENT_COMMANDS.map((command) => `${mailboxes}.${command}`),
      ...(role === 'client' ? writing : []),
      ...logAndRegistry(cluster),
    ],
    subscribe: [beatSubjects(cluster), `${inboxPrefix}.>`],
  };
}

/** Its requests, and the questions of NATS's service discovery: PING, INFO and STATS. */
function answering(cluster: string, id: string): readonly string[] {
  const name = serviceName(cluster);
  return [readSubject(cluster), writeSubject(cluster), '$SRV.*', `$SRV.*.${name}`, `$SRV.*.${name}.${id}`];
}

/** The stream of published changes. Whoever makes it may be the one that is gone. */
function publishing(cluster: string, options: PublishOptions): readonly string[] {
  const { subject, stream } = parsePublish(cluster, options);
  const api = ['CREATE', 'INFO', 'MSG.GET'].map((operation) => `$JS.API.STREAM.${operation}.${stream}`);
  const copy = `$KV.${registryBucket(cluster)}.published.${stream}`;
  return [subject.wildcard, ...api, copy];
}

/** The log, the registry and the lease. */
function reading(cluster: string): readonly string[] {
  const lease = ['INFO', 'MSG.GET'].map((operation) => `$JS.API.STREAM.${operation}.${leaseStream(cluster)}`);
  return [...logAndRegistry(cluster), ...lease];
}

function logAndRegistry(cluster: string): readonly string[] {
  const [stream, bucket] = [streamName(cluster), registryBucket(cluster)];
  const ofStreams = ['INFO', 'MSG.GET'].flatMap((operation) => [
    `$JS.API.STREAM.${operation}.${stream}`,
    `$JS.API.STREAM.${operation}.KV_${bucket}`,
  ]);
  const ofConsumers = ['CREATE', 'INFO', 'DELETE', 'MSG.NEXT'].map(
    (operation) => `$JS.API.CONSUMER.${operation}.${stream}.*`,
  );
  return ['$JS.API.INFO', ...ofStreams, ...ofConsumers];
}
