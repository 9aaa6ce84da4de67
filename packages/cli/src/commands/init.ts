import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { AntiphonError, assertClusterName, assertReplicaId, shellWord } from '@antiphon/core';
import { parseServers, type AddressLogin } from '@antiphon/nats/internal';
import { DEFAULT_CONFIG_FILE } from '../config/load-config.js';
import { configTemplate, type TemplateValues } from '../config/template.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { OTHER_PROGRAMS } from '../output/other-programs.js';
import { commaList, defineCommand, type CommandHost } from './define.js';
import type { InitSecureOptions } from './init-secure.js';

interface InitOptions extends InitSecureOptions {
  readonly output?: string;
  readonly force?: boolean;
  readonly secure?: boolean;
}

/** What only `--secure` takes. */
const OF_SECURE = ['ids', 'hosts', 'dir', 'add', 'renew', 'update'] as const;

export function defineInit(host: CommandHost): void {
  defineCommand<InitOptions>(host, {
    name: 'init',
    description: 'write a commented antiphon.yaml to start from',
    examples: [
      'antiphon init --cluster shop --id eu-1 --file shop.db',
      'antiphon init --secure --cluster shop --ids eu-1,eu-2,eu-3 --servers nats://nats.example.com',
    ],
    configure: (command) =>
      void command
        .option('-o, --output <file>', `where to write it (default: ${DEFAULT_CONFIG_FILE})`)
        .option('--cluster <name>', 'name of the cluster', 'shop')
        .option('--id <id>', 'name of this replica', 'eu-1')
        .option('--servers <url>', 'the NATS server, or several separated by commas', 'nats://127.0.0.1:4222')
        .option('--file <file>', 'the SQLite file', './shop.db')
        .option('--force', 'overwrite an existing file')
        .option(
          '--secure',
          'with TLS, a user and a certificate for each replica and role, tokens for HTTP, and the configuration of a nats-server',
        )
        .option('--ids <ids>', 'with --secure: the replicas, the first one creates the cluster', commaList)
        .option('--hosts <names>', 'with --secure: more names and addresses of the NATS server', commaList)
        .option('--dir <folder>', 'with --secure: where to write it all (default: here)')
        .option('--add <ids>', 'with --secure: more replicas for a cluster that was made before', commaList)
        .option(
          '--renew <names>',
          'with --secure: new keys for replicas, reader, admin, client, client-reader, or server',
          commaList,
        )
        .option('--update', 'with --secure: the permissions anew, after a change of `publish` or an upgrade'),
    run: async (options, context) => {
      assertTogether(options);
      if (options.secure === true) return (await import('./init-secure.js')).initSecure(options, context);
      const { terminal, cwd } = context;
      assertClusterName(options.cluster);
      assertReplicaId(options.id);
      const file = resolve(cwd, options.output ?? DEFAULT_CONFIG_FILE);
      assertFree(file, options.force === true);
      const { shown: servers, login } = parseServers(options.servers);
      const kind = loginKind(login);
      const { cluster, id } = options;
      const values = { cluster, id, servers, file: options.file, ...(kind && { login: kind }) };
      // The database is created when the replica starts; its folder is not.
      for (const path of [file, resolve(dirname(file), options.file)])
        mkdirSync(dirname(path), { recursive: true });
      writeFileSync(file, configTemplate(values));
      const shown = relative(cwd, file);
      terminal.out(
        terminal.json
          ? `${toJson({ file })}\n`
          : `Wrote ${shown}. What of a database can be replicated: antiphon check ${shellWord(options.file)}\nLook it over, then start this replica:\n  ${prefixOf(kind)}antiphon run --config ${shellWord(shown)}\n${OTHER_PROGRAMS}\n`,
      );
      return EXIT.ok;
    },
  });
}

function assertTogether(options: InitOptions): void {
  if (options.secure !== true) {
    const given = OF_SECURE.find((name) => options[name] !== undefined);
    if (given !== undefined)
      throw new AntiphonError(
        'BAD_OPTION',
        `\`--${given}\` goes with \`--secure\`. Add it, or leave this out.`,
      );
    return;
  }
  if (options.output !== undefined) {
    const message =
      '`--secure` writes a file for each replica. Give a folder with `--dir` in place of `--output`.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  if (options.force === true)
    throw new AntiphonError('BAD_OPTION', '`--secure` overwrites nothing. Leave out `--force`.');
}

function assertFree(file: string, force: boolean): void {
  // What cannot be looked at cannot be written either: that says why.
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined || (force && !found.isDirectory())) return;
  const message = found.isDirectory()
    ? `${file} is a folder. Choose a file in it with \`--output\`.`
    : `${file} already exists. Choose another \`--output\`, or overwrite it with \`--force\`.`;
  throw new AntiphonError('BAD_OPTION', message, { context: { file } });
}

function loginKind(login: AddressLogin | undefined): TemplateValues['login'] {
  if (login === undefined) return undefined;
  return 'token' in login ? 'token' : { user: login.user };
}

/** A secret of the address is not written into a file that people look at, copy and commit. */
function prefixOf(login: TemplateValues['login']): string {
  if (login === undefined) return '';
  return login === 'token' ? 'ANTIPHON_TOKEN=… ' : 'ANTIPHON_PASSWORD=… ';
}
