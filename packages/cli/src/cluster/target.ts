import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { accessFromEnvironment, type Access, type ClusterAddress } from '@antiphon/client';
import { accessFor } from '@antiphon/client/internal';
import { AntiphonError, assertClusterName } from '@antiphon/core';
import { DEFAULT_CONFIG_FILE, loadConfig } from '../config/load-config.js';
import { accessFromOptions, type AccessOptions } from './access-options.js';
import { findContext } from './context-file.js';

/**
 * The cluster that a command is about; `replica` is that of the configuration file, if it comes
 * from there.
 */
export type Target = ClusterAddress & { readonly source: string };

export interface TargetOptions extends AccessOptions {
  readonly config?: string | undefined;
  readonly servers?: string | undefined;
  readonly cluster?: string | undefined;
}

interface PartialTarget {
  readonly cluster?: string | undefined;
  readonly servers?: readonly string[] | undefined;
  readonly replica?: string;
  readonly access?: Access;
  readonly source: string;
}

/**
 * Options win over the file named by --config, over the environment (ANTIPHON_SERVERS,
 * ANTIPHON_CLUSTER), over the cluster that runs in this folder (`up`, `demo`), over
 * ./antiphon.yaml.
 *
 * @throws AntiphonError BAD_OPTION when no place names a cluster and its servers, or when it is no
 *   name of one.
 */
export function resolveTarget(options: TargetOptions, env: NodeJS.ProcessEnv, cwd: string): Target {
  const sources: PartialTarget[] = [
    {
      cluster: options.cluster,
      servers: split(options.servers),
      access: accessFromOptions(options, cwd),
      source: 'the command line',
    },
    ...(options.config === undefined ? [] : [fromConfig(options.config, env)]),
    {
      cluster: env['ANTIPHON_CLUSTER'],
      servers: split(env['ANTIPHON_SERVERS']),
      access: accessFromEnvironment(env),
      source: 'the environment',
    },
    ...fromFolder(options, env, cwd),
  ];
  const cluster = sources.find((source) => source.cluster !== undefined && source.cluster !== '')?.cluster;
  const servers = sources.find((source) => source.servers !== undefined);
  if (cluster === undefined || servers?.servers === undefined) {
    const missing = cluster === undefined ? 'Which cluster' : 'Which NATS servers';
    const message =
      `${missing}? Say so with --cluster NAME --servers URL, with --config antiphon.yaml, or with ` +
      'ANTIPHON_CLUSTER and ANTIPHON_SERVERS. Or start one here with `antiphon up`.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  // Before anybody is asked: no server knows a cluster of such a name.
  assertClusterName(cluster);
  const replica = servers.cluster === cluster ? servers.replica : undefined;
  return {
    cluster,
    nats: { ...accessTo(servers, servers.servers, sources), servers: servers.servers },
    source: servers.source,
    ...(replica === undefined ? {} : { replica }),
  };
}

/**
 * A cluster that runs in this folder asks for no login, and offers no TLS: what is set for another
 * one is not for it.
 */
function accessTo(
  chosen: PartialTarget,
  servers: readonly string[],
  sources: readonly PartialTarget[],
): Access {
  const [commandLine] = sources;
  const given = commandLine?.access ?? {};
  if (chosen.access === undefined) return given;
  return accessFor(
    servers,
    given,
    sources.slice(1).flatMap(({ access }) => access ?? []),
  );
}

function fromConfig(file: string, env: NodeJS.ProcessEnv): PartialTarget {
  const { cluster, nats, id } = loadConfig(file, env);
  const { servers, ...access } = nats;
  return { cluster, servers, replica: id, access, source: file };
}

/**
 * Only looked at when nothing named more clearly is complete: a broken ./antiphon.yaml must not
 * stop --servers.
 */
function fromFolder(options: TargetOptions, env: NodeJS.ProcessEnv, cwd: string): PartialTarget[] {
  const named = (option: string | undefined, variable: string): boolean =>
    (option ?? env[variable] ?? '') !== '' || options.config !== undefined;
  if (named(options.cluster, 'ANTIPHON_CLUSTER') && named(options.servers, 'ANTIPHON_SERVERS')) return [];
  const context = findContext(cwd);
  if (context !== undefined) return [{ ...context, source: 'the cluster that runs in this folder' }];
  const file = join(cwd, DEFAULT_CONFIG_FILE);
  return existsSync(file) ? [fromConfig(file, env)] : [];
}

function split(servers: string | undefined): readonly string[] | undefined {
  const list = servers?.split(',').flatMap((server) => (server.trim() === '' ? [] : [server.trim()])) ?? [];
  return list.length === 0 ? undefined : list;
}
