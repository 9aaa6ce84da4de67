import { join } from 'node:path';
import { importsOf, permissionsOf, type GuestRole, type PermissionOptions } from '@antiphon/nats';
import { GUEST_ROLES } from '@antiphon/nats/internal';
import { isReplica, type ClusterAccess, type ClusterUser } from './cluster-access.js';

/** Of the account of the replicas. */
export const USERS_FILE = 'users.conf';
/** The accounts of everybody else. */
export const ACCOUNTS_FILE = 'accounts.conf';

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
  # The replicas and the admin, with the log. What others do on this server, in accounts of their own, neither hears
  # nor reaches the cluster. Both files are written again by --add, --renew and --update. Then:
  # nats-server --signal reload
  ${accountName(cluster)} {
    jetstream: enabled
    include ${JSON.stringify(`${secrets}/${USERS_FILE}`)}
  }
  # An account for each other role, which reaches what its users may ask for and nothing else.
  ${accountsInclude(secrets)}
  SYS {}
}
system_account: SYS
`;
}

/** What a replica needs beyond its role, by its id. */
export type Grants = Readonly<Record<string, Pick<PermissionOptions, 'publish'>>>;

/** The line of nats-server.conf that brings the accounts of everybody but the replicas. */
export function accountsInclude(secrets: string): string {
  return `include ${JSON.stringify(`${secrets}/${ACCOUNTS_FILE}`)}`;
}

/**
 * Who is in the account of the replicas, each with the least that its role needs, and what others
 * may reach.
 */
export function usersConfig({ cluster, users }: ClusterAccess, grants: Grants = {}): string {
  const members = users.filter(({ role }) => !isGuest(role));
  return `# The account of the replicas of cluster ${cluster}: its users, by their public keys. Written by
# \`antiphon init --secure\`, again by --add, --renew and --update: keep what you add in a file of its own.
users: [
${members.map((user) => userConfig(cluster, user, grants[user.name])).join('\n')}
]
# What the accounts of ${ACCOUNTS_FILE} import.
exports: [
${exportsOf(cluster).join('\n')}
]
`;
}

/**
 * An account for each role that asks the replicas: their answers, and those of JetStream, are
 * delivered in it, and reach no stream.
 */
export function accountsConfig({ cluster, users }: ClusterAccess): string {
  return `# The accounts of those who ask the replicas of cluster ${cluster}, one for each role. Written by
# \`antiphon init --secure\`, again by --add, --renew and --update: keep what you add in a file of its own.
${GUEST_ROLES.map((role) => guestAccount(cluster, role, users)).join('\n')}
`;
}

function guestAccount(cluster: string, role: GuestRole, users: ClusterAccess['users']): string {
  const { services, streams } = importsOf(role, cluster);
  const from = `account: ${accountName(cluster)}`;
  const imports = [
    ...services.map(({ subject }) => `{ service: { ${from}, subject: ${JSON.stringify(subject)} } }`),
    ...streams.map((subject) => `{ stream: { ${from}, subject: ${JSON.stringify(subject)} } }`),
  ];
  return `${accountName(cluster, role)} {
users: [
${users.flatMap((user) => (user.role === role ? userConfig(cluster, user) : [])).join('\n')}
]
imports: [
${imports.map((line) => `  ${line}`).join('\n')}
]
}`;
}

/** Each subject once, for the accounts of the roles that need it. */
/** A query may take 300 s, a write longer; without it, answers are dropped after two minutes. */
const ANSWER_TIME = '"1h"';

function exportsOf(cluster: string): readonly string[] {
  const accountsOf = new Map<string, string[]>();
  for (const role of GUEST_ROLES) {
    const { services, streams } = importsOf(role, cluster);
    const kinds = [
      ...services.map(
        ({ subject, response }) =>
          `service: ${JSON.stringify(subject)}, response: ${response}${response === 'singleton' ? `, response_threshold: ${ANSWER_TIME}` : ''}`,
      ),
      ...streams.map((subject) => `stream: ${JSON.stringify(subject)}`),
    ];
    for (const kind of kinds)
      accountsOf.set(kind, [...(accountsOf.get(kind) ?? []), accountName(cluster, role)]);
  }
  return [...accountsOf].map(([kind, accounts]) => `  { ${kind}, accounts: [${accounts.join(', ')}] }`);
}

/** The name of an account, as it is written: of the replicas, or of a role. */
function accountName(cluster: string, role?: GuestRole): string {
  return JSON.stringify(`ANTIPHON${role === undefined ? '' : `-${role.toUpperCase()}`}_${cluster}`);
}

function isGuest(role: ClusterUser['role']): boolean {
  return GUEST_ROLES.some((guest) => guest === role);
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
