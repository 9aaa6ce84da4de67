import {
  AntiphonError,
  checkOptions,
  type OptionNames,
  parsePublish,
  type PublishOptions,
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
 * `explain-candidate`, `doctor`). `admin`: all of it.
 */
export type AccessRole = 'replica' | 'creator' | 'reader' | 'admin';

/** As in the `permissions` of a user of nats-server. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export interface PermissionOptions {
  /** Of the replica; not needed for `reader` and `admin`. */
  readonly id?: string;
  /** As in the options of the connection. */
  readonly inboxPrefix?: string;
  /** As in the options of a replica that publishes changes. */
  readonly publish?: PublishOptions;
}

const PERMISSION_OPTIONS: OptionNames<PermissionOptions> = { id: true, inboxPrefix: true, publish: true };

const READING_COMMANDS = [
  ...[
    'ping',
    'status',
    'standing',
    'beat',
    'candidacy',
    'query',
    'outcome',
    'outcomes',
    'checksum',
    'rowDigests',
  ],
  ...['quarantine', 'quarantined', 'epochs', 'rescues', 'rescued'],
] as const;

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
  const { id, inboxPrefix = '_INBOX', publish } = options;
  if (role === 'replica' || role === 'creator') {
    if (id === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `The permissions of a ${role} are those of one replica. Give its id.`,
      );
    }
    const permissions = replicaPermissions(role, cluster, id, inboxPrefix);
    if (publish === undefined) return permissions;
    return { ...permissions, publish: [...permissions.publish, ...publishing(cluster, publish)] };
  }
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
  const create = [
    `$JS.API.STREAM.CREATE.${stream}`,
    `$JS.API.STREAM.CREATE.KV_${bucket}`,
    `$KV.${bucket}.cluster`,
  ];
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
      ...(inboxPrefix === '_INBOX' ? [] : [`${inboxPrefix}.>`]),
      ...reading(cluster),
      `$JS.ACK.${stream}.${durableName(id)}.>`,
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

/** The stream of published changes. Whoever makes it may be the one that is gone. */
function publishing(cluster: string, options: PublishOptions): readonly string[] {
  const { subject, stream } = parsePublish(cluster, options);
  const api = ['CREATE', 'INFO', 'MSG.GET'].map((operation) => `$JS.API.STREAM.${operation}.${stream}`);
  const copy = `$KV.${registryBucket(cluster)}.published.${stream}`;
  return [subject.wildcard, ...api, copy];
}

/** The log, the registry and the lease. */
function reading(cluster: string): readonly string[] {
  const [stream, bucket] = [streamName(cluster), registryBucket(cluster)];
  const ofStreams = ['INFO', 'MSG.GET'].flatMap((operation) => [
    `$JS.API.STREAM.${operation}.${stream}`,
    `$JS.API.STREAM.${operation}.KV_${bucket}`,
    `$JS.API.STREAM.${operation}.${leaseStream(cluster)}`,
  ]);
  const ofConsumers = ['CREATE', 'INFO', 'DELETE', 'MSG.NEXT'].map(
    (operation) => `$JS.API.CONSUMER.${operation}.${stream}.*`,
  );
  return ['$JS.API.INFO', ...ofStreams, ...ofConsumers];
}
