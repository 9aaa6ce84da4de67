import { isIP } from 'node:net';
import { basename, join, relative, resolve } from 'node:path';
import { AntiphonError, assertClusterName, assertReplicaId, shellWord } from '@antiphon/core';
import { parseServers } from '@antiphon/nats/internal';
import { isLoopback } from '@antiphon/server/internal';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { OTHER_PROGRAMS } from '../output/other-programs.js';
import { TAKEN_NAMES } from '../secure/cluster-access.js';
import {
  addReplicas,
  createSecureCluster,
  renew,
  SECRETS,
  updatePermissions,
  type SecureFolder,
  type SecureOptions,
  type SecureResult,
} from '../secure/secure-cluster.js';
import type { CommandContext } from './define.js';

/** Of `antiphon init --secure`, as the command line gives them. */
export interface InitSecureOptions {
  readonly cluster: string;
  readonly id: string;
  readonly servers: string;
  readonly file: string;
  readonly ids?: readonly string[];
  readonly hosts?: readonly string[];
  readonly dir?: string;
  readonly add?: readonly string[];
  readonly renew?: readonly string[];
  readonly update?: boolean;
}

/** To a cluster that was made before. */
const CHANGES = ['add', 'renew', 'update'] as const;

const DEFAULT_PORT = 4222;
/** The server is always reached from its own machine. */
const OWN_HOSTS = ['localhost', '127.0.0.1', '::1'];

/** Throws BAD_OPTION. */
export function initSecure(options: InitSecureOptions, context: CommandContext): ExitCode {
  const { cwd, env, terminal } = context;
  const given = CHANGES.filter((name) => options[name] !== undefined);
  if (given.length > 1) {
    const message = `\`--${given.join('` and `--')}\` do not go together. Give one at a time.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const folder = resolve(cwd, options.dir ?? '.');
  const result = written(options, { folder, env });
  const shown = relative(cwd, folder) || '.';
  const isNew = options.add === undefined;
  const text = result.replicas.length > 0 ? madeText(result, shown, isNew) : changedText(result, shown);
  terminal.out(terminal.json ? `${toJson(result)}\n` : text);
  return EXIT.ok;
}

function written(options: InitSecureOptions, where: SecureFolder): SecureResult {
  if (options.renew !== undefined) return renew(where, options.renew);
  if (options.update === true) return updatePermissions(where);
  const ids = options.add ?? options.ids ?? [options.id];
  for (const id of ids) assertFreeName(id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined)
    throw new AntiphonError('BAD_OPTION', `Two replicas are called "${twice}". Give each its own id.`);
  if (options.add !== undefined) return addReplicas(where, ids);
  assertClusterName(options.cluster);
  const { cluster, file } = options;
  return createSecureCluster({ folder: where.folder, cluster, ids, file, ...placesOf(options) });
}

function assertFreeName(id: string): void {
  assertReplicaId(id);
  if (!TAKEN_NAMES.includes(id)) return;
  const message = `"${id}" is the name of another user or file of \`--secure\`. Give the replica another id.`;
  throw new AntiphonError('BAD_OPTION', message, { context: { replica: id } });
}

/** Where the server listens, and under which names. Addresses without TLS would be refused. */
function placesOf({
  servers: given,
  hosts = [],
}: InitSecureOptions): Pick<SecureOptions, 'servers' | 'listen' | 'hosts'> {
  const { urls, login } = parseServers(given);
  if (login !== undefined) {
    const message =
      'With `--secure` every user has an nkey. Give `--servers` without a user name, password or token.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  const names = urls.map(({ hostname }) => hostname.replace(/^\[(.*)\]$/, '$1'));
  const all = [...OWN_HOSTS, ...names, ...hosts];
  const isHere = all.every((host) => isLoopback(host));
  const port = urls[0]?.port || DEFAULT_PORT;
  return {
    servers: urls.map(({ host, port: own }) => `tls://${host}${own === '' ? `:${DEFAULT_PORT}` : ''}`),
    listen: `${isHere ? '127.0.0.1' : '0.0.0.0'}:${port}`,
    hosts: [...new Set(all.map((host) => (isIP(host) === 0 ? host.toLowerCase() : host)))],
  };
}

function madeText(
  { cluster, replicas, certificatesEnd }: SecureResult,
  folder: string,
  isNew: boolean,
): string {
  const at = (name: string): string => shellWord(folder === '.' ? name : join(folder, name));
  const configs = replicas.map((id) => at(`${id}.yaml`));
  const started = configs.map((config) => `  antiphon run --config ${config}`);
  const first = replicas[0] ?? '';
  const until = certificatesEnd === undefined ? '' : ` until ${dayOf(certificatesEnd)}`;
  const server = isNew
    ? [`  ${at('nats-server.conf')}: TLS, and accounts with a user for each replica and role`]
    : [];
  const begin = isNew
    ? [
        `Start the server, then ${first}, whose database brings the tables, then the others:`,
        `  nats-server -c ${at('nats-server.conf')}`,
      ]
    : ['Let the server read its users again, then start what was added:', '  nats-server --signal reload'];
  const lines = [
    `Wrote for cluster ${cluster}:`,
    ...server,
    `  ${configs.join(', ')}: a replica each`,
    `  ${at(SECRETS)}: keys, tokens, and certificates${until}. For nobody else's eyes, and not for git`,
    ...begin,
    ...started,
    'Other commands, as `reader`, or as `admin`, who may do everything:',
    `  . ${sourced(at(`${SECRETS}/reader.env`))} && antiphon status`,
    'Applications log in as `client`, or as `client-reader`, which does not write.',
    'What to copy to other machines, and what protects whom from what: docs/security.md.',
    OTHER_PROGRAMS,
  ];
  return `${lines.join('\n')}\n`;
}

function changedText({ files, certificatesEnd }: SecureResult, folder: string): string {
  const names = files.map((file) => basename(file)).join(', ');
  const outcome =
    certificatesEnd === undefined
      ? 'From then on the new permissions count.'
      : `From then on the old keys are refused. The new certificates last until ${dayOf(certificatesEnd)}.`;
  const lines = [
    `Wrote in ${shellWord(join(folder, SECRETS))}: ${names}`,
    'Copy them to where they are used, and let the server read its users again: nats-server --signal reload',
    outcome,
  ];
  return `${lines.join('\n')}\n`;
}

/** A shell looks for a name without a slash on the PATH. */
function sourced(file: string): string {
  return file.includes('/') && !/^[.~/'"]/.test(file) ? `./${file}` : file;
}

/** Of a time in ISO 8601. */
function dayOf(time: string): string {
  return time.slice(0, 10);
}
