import { statSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { AntiphonError, assertClusterName, assertReplicaId, shellWord } from '@antiphon/core';
import { parseServers, type AddressLogin } from '@antiphon/nats/internal';
import { DEFAULT_CONFIG_FILE } from '../config/load-config.js';
import { configTemplate, type TemplateValues } from '../config/template.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { OTHER_PROGRAMS } from '../output/other-programs.js';
import { defineCommand, type CommandHost } from './define.js';

interface InitOptions {
  readonly output: string;
  readonly cluster: string;
  readonly id: string;
  readonly servers: string;
  readonly file: string;
  readonly force?: boolean;
}

export function defineInit(host: CommandHost): void {
  defineCommand<InitOptions>(host, {
    name: 'init',
    description: 'write a commented antiphon.yaml to start from',
    examples: ['antiphon init --cluster shop --id eu-1 --file shop.db'],
    configure: (command) =>
      void command
        .option('-o, --output <file>', 'where to write it', DEFAULT_CONFIG_FILE)
        .option('--cluster <name>', 'name of the cluster', 'shop')
        .option('--id <id>', 'name of this replica', 'eu-1')
        .option('--servers <url>', 'the NATS server', 'nats://127.0.0.1:4222')
        .option('--file <file>', 'the SQLite file', './shop.db')
        .option('--force', 'overwrite an existing file'),
    run: async (options, { terminal, cwd }) => {
      assertClusterName(options.cluster);
      assertReplicaId(options.id);
      const file = resolve(cwd, options.output);
      assertFree(file, options.force === true);
      const { shown: servers, login } = parseServers(options.servers);
      const kind = loginKind(login);
      const { cluster, id } = options;
      const values = { cluster, id, servers, file: options.file, ...(kind && { login: kind }) };
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
