import { join } from 'node:path';
import { permissionsOf, type PermissionOptions } from '@antiphon/nats';
import { isReplica, type ClusterAccess, type ClusterUser } from './cluster-access.js';

export const USERS_FILE = 'users.conf';

/** Where a server listens, and where its files are. */
export interface ServerPlaces {
  readonly listen: string;
  /** Absolute: nats-server takes relative paths from the folder that it is started in. */
  readonly folder: string;
  /** Below it. */
  readonly secrets: string;
}

/** What the subjects of a user's answers begin with: nobody else hears them. */
export function inboxOf(user: string): string {
  return `_INBOX.${user}`;
}

/** The configuration of a nats-server. It holds no secret, only the paths of some. */
export function serverConfig({ cluster }: ClusterAccess, { listen, folder, secrets }: ServerPlaces): string {
  const path = (name: string): string => JSON.stringify(join(folder, secrets, name));
  return `# A nats-server for cluster ${cluster}: nats-server -c nats-server.conf
# Written once by \`antiphon init --secure\`: change what you like (docs/security.md). Its paths are those of this
# machine: nats-server takes relative ones from the folder that it is started in.

server_name: antiphon-${cluster}
listen: ${JSON.stringify(listen)}

# Everybody shows a certificate of this authority, and logs in with the nkey of a user.
tls {
  cert_file: ${path('server.pem')}
  key_file: ${path('server.key')}
  ca_file: ${path('ca.pem')}
  verify: true
}

jetstream {
  store_dir: ${JSON.stringify(join(folder, 'nats-data'))}
  # From 2.10 on: every message is on disk before it is acknowledged. Without it a power cut can take some back; replicas
  # send them again. With it a server stores some 5,000 messages a second instead of 200,000.
  # sync_interval: always
}

# A message of Antiphon is at most 256 KiB; the default of 1 MB is enough.
max_payload: 1MB

accounts {
  # What others do on this server, in accounts of their own, neither hears nor reaches the cluster.
  "ANTIPHON_${cluster}" {
    jetstream: enabled
    # Written again by --add, --renew and --update. Then: nats-server --signal reload
    include ${JSON.stringify(`${secrets}/${USERS_FILE}`)}
  }
  SYS {}
}
system_account: SYS
`;
}

/** What a replica needs beyond its role, by its id. */
export type Grants = Readonly<Record<string, Pick<PermissionOptions, 'publish'>>>;

/** The users of the account, each with the least that its role needs. */
export function usersConfig({ cluster, users }: ClusterAccess, grants: Grants = {}): string {
  return `# The users of cluster ${cluster}, by their public keys. Written by \`antiphon init --secure\`, again by --add,
# --renew and --update: keep what you add in a file of its own.
users: [
${users.map((user) => userConfig(cluster, user, grants[user.name])).join('\n')}
]
`;
}

function userConfig(
  cluster: string,
  { name, role, nkey }: ClusterUser,
  granted: Grants[string] = {},
): string {
  // `subjects` may be turned on in its file: a replica knows all that is asked there anyway.
  const own = isReplica(role) ? { id: name, subjects: true, ...granted } : {};
  const { publish, subscribe } = permissionsOf(role, cluster, { inboxPrefix: inboxOf(name), ...own });
  const list = (subjects: readonly string[]): string =>
    subjects.map((subject) => `        ${JSON.stringify(subject)}`).join('\n');
  return `  # ${name}: ${role}
  {
    nkey: ${nkey}
    permissions: {
      publish: [
${list(publish)}
      ]
      subscribe: [
${list(subscribe)}
      ]
    }
  }`;
}
