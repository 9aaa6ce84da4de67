import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { AntiphonError, shellWord } from '@antiphon/core';
import type { AccessRole } from '@antiphon/nats';
import { loadConfig } from '../config/load-config.js';
import { configTemplate } from '../config/template.js';
import { CertificateAuthority, endOf, type Certified } from './certificate.js';
import {
  accessText,
  isReplica,
  newTokens,
  newUser,
  readAccess,
  ROLE_USERS,
  type ClusterAccess,
  type ClusterUser,
} from './cluster-access.js';
import { assertNew, replace, writeNew, type FileToWrite } from './files.js';
import {
  ACCOUNTS_FILE,
  accountsConfig,
  accountsInclude,
  inboxOf,
  serverConfig,
  USERS_FILE,
  usersConfig,
  type Grants,
} from './server-config.js';

/** The folder of keys, certificates and tokens, beside the configuration files. */
export const SECRETS = 'secure';
const ACCESS_FILE = 'access.json';
const SERVER_CONFIG = 'nats-server.conf';
const FIRST_HTTP_PORT = 7070;
const SERVER = 'server';

/** What a cluster is made with. */
export interface SecureOptions {
  /** Absolute. */
  readonly folder: string;
  readonly cluster: string;
  /** The first one creates the cluster. */
  readonly ids: readonly string[];
  /** Addresses that begin with `tls://`. */
  readonly servers: readonly string[];
  readonly listen: string;
  /** Names and addresses for the certificate of the server. */
  readonly hosts: readonly string[];
  /** The database of the first replica. */
  readonly file: string;
}

/** A cluster that was made before. */
export interface SecureFolder {
  /** Absolute. */
  readonly folder: string;
  /** For the configuration files of its replicas. */
  readonly env: NodeJS.ProcessEnv;
}

/** What was written. */
export interface SecureResult {
  readonly cluster: string;
  readonly replicas: readonly string[];
  readonly files: readonly string[];
  /** When the first of the new certificates ends, as ISO 8601. */
  readonly certificatesEnd?: string;
}

/**
 * Everything that a cluster needs in which everybody logs in. Overwrites nothing. Throws
 * BAD_OPTION.
 */
export function createSecureCluster(options: SecureOptions): SecureResult {
  const { folder, cluster, ids, servers, listen, hosts, file } = options;
  const authority = CertificateAuthority.create(`Antiphon ${cluster}`);
  const { secrets, known: tokens } = newTokens();
  const roles = ids.map((id, index): [string, AccessRole] => [id, index === 0 ? 'creator' : 'replica']);
  const made = [...roles, ...ROLE_USERS.map((role) => [role, role] as const)].map(([name, role]) =>
    newUser(name, role),
  );
  const users = made.map(({ user }) => user);
  const access: ClusterAccess = { cluster, servers: [...servers], hosts: [...hosts], users, tokens };
  const places = { listen, folder, secrets: SECRETS };
  const within = inSecrets(folder);
  const files = [
    { path: join(folder, SERVER_CONFIG), content: serverConfig(access, places), isSecret: false },
    ...ids.map((id, index) => replicaConfig(folder, access, id, index === 0 ? file : undefined)),
    within('.gitignore', '*\n'),
    within('ca.pem', authority.pem.cert),
    within('ca.key', authority.pem.key, true),
    ...certified(folder, SERVER, authority.server(SERVER, hosts)),
    ...made.flatMap(({ user, seed }) => userFiles(folder, user.name, seed, authority)),
    ...ROLE_USERS.map((name) => environment(folder, access, name)),
    ...Object.entries(secrets).map(([role, token]) => within(`http-${role}.token`, token, true)),
    within(USERS_FILE, usersConfig(access)),
    within(ACCOUNTS_FILE, accountsConfig(access)),
    within(ACCESS_FILE, accessText(access)),
  ];
  const isNew = !existsSync(join(folder, SECRETS));
  mkdirSync(folder, { recursive: true });
  mkdirSync(join(folder, SECRETS), { recursive: true, mode: 0o700 });
  try {
    writeNew(files);
  } catch (error) {
    if (isNew) rmdirSync(join(folder, SECRETS));
    throw error;
  }
  return resultOf(cluster, ids, files);
}

/**
 * Users and configuration files for more replicas of a cluster that was made before. Throws
 * BAD_OPTION.
 */
export function addReplicas(where: SecureFolder, ids: readonly string[]): SecureResult {
  const { folder } = where;
  const access = readAccess(join(folder, SECRETS, ACCESS_FILE));
  const authority = authorityOf(folder);
  const known = access.users.map(({ name }) => name);
  const twice = ids.find((id) => known.includes(id));
  if (twice !== undefined) {
    const message = `"${twice}" is a user already. Give another id, or replace its keys with \`--renew ${twice}\`.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const made = ids.map((id) => newUser(id, 'replica'));
  const later = { ...access, users: [...access.users, ...made.map(({ user }) => user)] };
  const files = [
    ...ids.map((id) => replicaConfig(folder, later, id)),
    ...made.flatMap(({ user, seed }) => userFiles(folder, user.name, seed, authority)),
  ];
  assertNew(files);
  const registers = registersOf(where, later);
  writeNew(files);
  replace(registers);
  return resultOf(access.cluster, ids, [...files, ...registers]);
}

/**
 * New keys and certificates in place of those of users, or of the server: the old keys are worth
 * nothing once the server has read its users again. Throws BAD_OPTION.
 */
export function renew(where: SecureFolder, names: readonly string[]): SecureResult {
  const { folder } = where;
  const access = readAccess(join(folder, SECRETS, ACCESS_FILE));
  const authority = authorityOf(folder);
  const stranger = names.find((name) => name !== SERVER && !access.users.some((user) => user.name === name));
  if (stranger !== undefined) {
    const known = [...access.users.map(({ name }) => name), SERVER].join(', ');
    throw new AntiphonError('BAD_OPTION', `"${stranger}" is not a user. Name one of ${known}.`);
  }
  const made = access.users
    .filter(({ name }) => names.includes(name))
    .map(({ name, role }) => newUser(name, role));
  const users = access.users.map(
    (user): ClusterUser => made.find(({ user: { name } }) => name === user.name)?.user ?? user,
  );
  const files = [
    ...made.flatMap(({ user, seed }) => userFiles(folder, user.name, seed, authority)),
    ...(names.includes(SERVER) ? certified(folder, SERVER, authority.server(SERVER, access.hosts)) : []),
  ];
  const written = [...files, ...registersOf(where, { ...access, users })];
  replace(written);
  return resultOf(access.cluster, [], written);
}

/**
 * The permissions anew: for what the files of the replicas say by now, and after an upgrade. Throws
 * BAD_OPTION.
 */
export function updatePermissions(where: SecureFolder): SecureResult {
  const access = readAccess(join(where.folder, SECRETS, ACCESS_FILE));
  const registers = registersOf(where, access);
  replace(registers);
  return resultOf(access.cluster, [], registers);
}

function authorityOf(folder: string): CertificateAuthority {
  const read = (name: string): string => readFileSync(join(folder, SECRETS, name), 'utf8');
  return CertificateAuthority.from({ cert: read('ca.pem'), key: read('ca.key') });
}

/** Who there is, for the server and for the next time. */
function registersOf({ folder, env }: SecureFolder, access: ClusterAccess): readonly FileToWrite[] {
  assertAccounts(folder);
  const within = inSecrets(folder);
  const replicas = access.users.filter(({ role }) => isReplica(role));
  const grants: Grants = Object.fromEntries(replicas.map(({ name }) => [name, grantsOf(folder, name, env)]));
  return [
    within(USERS_FILE, usersConfig(access, grants)),
    within(ACCOUNTS_FILE, accountsConfig(access)),
    within(ACCESS_FILE, accessText(access)),
  ];
}

/**
 * A configuration from before readers and clients had accounts of their own would lock them out.
 * Throws BAD_OPTION.
 */
function assertAccounts(folder: string): void {
  const file = join(folder, SERVER_CONFIG);
  if (!existsSync(file) || readFileSync(file, 'utf8').includes(ACCOUNTS_FILE)) return;
  const message = `${file} has one account for everybody: who may read can write there (docs/security.md). Write \`${accountsInclude(SECRETS)}\` as a line of its own inside \`accounts { … }\`, then run this again.`;
  throw new AntiphonError('BAD_OPTION', message, { context: { file } });
}

/** A file that has gone to another machine leaves a replica what its role needs. */
function grantsOf(folder: string, id: string, env: NodeJS.ProcessEnv): Grants[string] {
  const file = join(folder, `${id}.yaml`);
  if (!existsSync(file)) return {};
  const { publish } = loadConfig(file, env);
  return publish === undefined ? {} : { publish };
}

function replicaConfig(folder: string, access: ClusterAccess, id: string, file = `./${id}.db`): FileToWrite {
  const { cluster, servers, users, tokens } = access;
  const replicas = users.filter(({ role }) => isReplica(role));
  const port = FIRST_HTTP_PORT + replicas.findIndex(({ name }) => name === id);
  const secure = { folder: `./${SECRETS}`, inboxPrefix: inboxOf(id), listen: `127.0.0.1:${port}`, tokens };
  const content = configTemplate({ cluster, id, servers: servers.join(', '), file, secure });
  return { path: join(folder, `${id}.yaml`), content, isSecret: false };
}

function userFiles(
  folder: string,
  name: string,
  seed: string,
  authority: CertificateAuthority,
): readonly FileToWrite[] {
  const certificate = authority.client(name);
  return [inSecrets(folder)(`${name}.nk`, `${seed}\n`, true), ...certified(folder, name, certificate)];
}

function certified(folder: string, name: string, { cert, key }: Certified): readonly FileToWrite[] {
  const within = inSecrets(folder);
  return [within(`${name}.pem`, cert), within(`${name}.key`, key, true)];
}

/** For a shell: the user whose name it has, in place of options of every command. */
function environment(folder: string, { cluster, servers }: ClusterAccess, name: string): FileToWrite {
  const path = (ending: string): string => join(folder, SECRETS, `${name}.${ending}`);
  const variables = {
    CLUSTER: cluster,
    SERVERS: servers.join(','),
    NKEY: path('nk'),
    TLS_CA: join(folder, SECRETS, 'ca.pem'),
    TLS_CERT: path('pem'),
    TLS_KEY: path('key'),
    INBOX_PREFIX: inboxOf(name),
  };
  const lines = Object.entries(variables).map(
    ([variable, value]) => `export ANTIPHON_${variable}=${shellWord(value)}`,
  );
  const text = [`# \`antiphon\` as the user ${name}: \`. ./${SECRETS}/${name}.env\``, ...lines, ''].join(
    '\n',
  );
  return inSecrets(folder)(`${name}.env`, text);
}

function inSecrets(folder: string): (name: string, content: string, isSecret?: boolean) => FileToWrite {
  return (name, content, isSecret = false) => ({ path: join(folder, SECRETS, name), content, isSecret });
}

function resultOf(
  cluster: string,
  replicas: readonly string[],
  written: readonly FileToWrite[],
): SecureResult {
  const certificates = written.filter(({ path }) => path.endsWith('.pem'));
  const endsMs = certificates.map(({ content }) => endOf(content).getTime());
  return {
    cluster,
    replicas,
    files: written.map(({ path }) => path),
    ...(endsMs.length > 0 && { certificatesEnd: new Date(Math.min(...endsMs)).toISOString() }),
  };
}
