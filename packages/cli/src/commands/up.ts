import { existsSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import {
  AntiphonError,
  assertClusterName,
  creationRemarks,
  missingTables,
  shellWord,
  sentence,
} from '@antiphon/core';
import type { Topology, UpdateOptions } from '@antiphon/replica';
import { inspectFile, openDatabase } from '@antiphon/sqlite';
import { LocalCluster, type LocalClusterOptions, type LocalReplica } from '../cluster/local-cluster.js';
import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load-config.js';
import { EXIT } from '../output/exit-code.js';
import { ownCommand } from '../output/own-command.js';
import { toJson } from '../output/json.js';
import {
  chosen,
  commaList,
  defineCommand,
  tableChoice,
  wholeNumber,
  type CommandContext,
  type CommandHost,
  type TableChoice,
} from './define.js';
import { replicaIds } from './replica-ids.js';
import { topologyName, topologyOf, type TopologyName } from './topology-option.js';
import { stayUntilEnded } from './stay.js';
import { updateName, updateOf, type UpdateName } from './update-option.js';

interface UpOptions {
  readonly config?: string;
  readonly cluster?: string;
  readonly file?: string;
  readonly tables?: TableChoice;
  readonly localTriggers?: readonly string[];
  readonly topology?: TopologyName;
  readonly update?: UpdateName;
  readonly replicas: number;
  readonly dir: string;
  readonly port?: number;
}

const DEFAULT_REPLICAS = 3;
const MAX_REPLICAS = 9;
const DEFAULT_FOLDER = join('.antiphon', 'up');
const METADATA_TABLES = '_antiphon_%';

export function defineUp(host: CommandHost): void {
  defineCommand<UpOptions>(host, {
    name: 'up',
    description: 'run a whole cluster on this machine: nats-server and a process for each replica',
    examples: ['antiphon up --file shop.db --replicas 3', 'antiphon up --config antiphon.yaml'],
    configure: (command) =>
      void command
        .option(
          '-f, --file <file>',
          'the SQLite file of the first replica, with the tables (default: one in --dir)',
        )
        .option(
          '-c, --config <file>',
          'take cluster, id, file, tables, topology and update from an antiphon.yaml',
        )
        .option('--cluster <name>', 'name of the cluster (default: local)')
        .option('--replicas <count>', 'how many', wholeNumber(1, MAX_REPLICAS), DEFAULT_REPLICAS)
        .option(
          '--topology <name>',
          'primary-replica (default: the first is the primary) or multi-primary',
          topologyName,
        )
        .option('--update <mode>', 'async, or sync: a write waits for all that are in sync', updateName)
        .option(
          '--tables <names>',
          'the replicated tables (default: auto, every one that can be)',
          tableChoice,
        )
        .option('--local-triggers <names>', 'triggers that stay where they are', commaList)
        .option(
          '--dir <folder>',
          "where the other replicas' files, the log and the log files are kept",
          DEFAULT_FOLDER,
        )
        .option('--port <port>', 'of nats-server (default: a free one)', wholeNumber(1, 65_535)),
    run: async (options, context) => {
      const { terminal, cwd } = context;
      const folder = resolve(cwd, options.dir);
      const planned = plan(options, folder, context);
      const { cluster, replicas, topology, update, sqlite, tables, localTriggers, limits, onStall } = planned;
      assertHasTables(replicas[0].file, cwd, options.file !== undefined || options.config !== undefined);
      const say = (text: string): void => (terminal.json ? undefined : terminal.out(`${text}\n`));
      for (const remark of await remarksOn(replicas[0].file, { topology, update, tables }))
        say(`! ${remark}`);
      const running = await LocalCluster.start({
        cluster,
        replicas,
        topology,
        update,
        ...(sqlite === undefined ? {} : { sqlite }),
        ...(tables === undefined ? {} : { tables }),
        ...(localTriggers === undefined ? {} : { localTriggers }),
        ...(limits === undefined ? {} : { limits }),
        ...(onStall === undefined ? {} : { onStall }),
        folder,
        contextFolder: options.dir === DEFAULT_FOLDER ? cwd : folder,
        ...(options.port === undefined ? {} : { port: options.port }),
        onEvent: say,
        signal: context.signal,
      }).catch((thrown: unknown) => {
        if (!context.signal.aborted) throw thrown;
        return undefined;
      });
      if (running === undefined) {
        say('\neverything has stopped');
        return EXIT.ok;
      }
      const { servers, processes } = running;
      if (terminal.json) {
        const list = replicas.map(({ id, file }, index) => ({ id, file, pid: processes[index]?.pid }));
        terminal.out(`${toJson({ cluster, servers, replicas: list })}\n`);
      }
      say(
        `\nCluster ${cluster} is up at ${servers.join(', ')}. In another terminal: ${ownCommand(cwd, context.env)} status`,
      );
      say('Ctrl-C stops everything.');
      return stayUntilEnded(running, context.signal, terminal);
    },
  });
}

interface Plan {
  readonly cluster: string;
  readonly replicas: readonly [LocalReplica, ...LocalReplica[]];
  readonly topology: Topology;
  readonly update: UpdateOptions;
  readonly sqlite?: Config['sqlite'];
  readonly tables?: readonly string[];
  readonly localTriggers?: readonly string[];
  readonly limits?: LocalClusterOptions['limits'];
  readonly onStall?: Config['onStall'];
}

function plan(options: UpOptions, folder: string, { env, cwd }: CommandContext): Plan {
  const config = options.config === undefined ? undefined : loadConfig(options.config, env);
  const cluster = options.cluster ?? config?.cluster ?? 'local';
  assertClusterName(cluster);
  const [firstId, ...otherIds] = replicaIds(options.replicas, config?.id);
  const given = options.file === undefined ? config?.sqliteFile : resolve(cwd, options.file);
  const first = { id: firstId, file: given ?? join(folder, `${firstId}.db`) };
  const others = otherIds.map((id) => ({ id, file: join(folder, `${id}.db`) }));
  const tables = options.tables === undefined ? config?.tables : chosen(options.tables);
  const localTriggers = options.localTriggers ?? config?.localTriggers;
  const { limits = {}, onStall } = config ?? {};
  const topology = options.topology === undefined ? config?.topology : topologyOf(options.topology, firstId);
  // The file's own settings of a mode, when it is the mode that is asked for.
  const { update } = config ?? {};
  const mode = options.update ?? update?.mode ?? 'async';
  return {
    cluster,
    replicas: [first, ...others],
    topology: topology ?? topologyOf('primary-replica', firstId),
    update: update?.mode === mode ? update : updateOf(mode, options.replicas),
    ...(config && { sqlite: config.sqlite }),
    ...(tables && { tables }),
    ...(localTriggers && { localTriggers }),
    limits,
    ...(onStall && { onStall }),
  };
}

/**
 * What creating a cluster from the database will mean for its tables.
 * @throws AntiphonError BAD_OPTION when it does not have those that were named
 */
async function remarksOn(
  file: string,
  { topology, update, tables }: Pick<Plan, 'topology' | 'update'> & { readonly tables: Plan['tables'] },
): Promise<readonly string[]> {
  const inspection = await inspectFile(file, tables && { tables });
  if (inspection.identity !== undefined) return [];
  const missing = missingTables(inspection, tables ?? []);
  if (missing !== undefined)
    throw new AntiphonError('BAD_OPTION', `${file} has no table ${missing}. Correct \`tables\`.`, {
      context: { file },
    });
  const rowVersions = topology.mode === 'multi-primary' && update.mode !== 'sync';
  return creationRemarks(inspection, { named: tables !== undefined, rowVersions });
}

/** A replica without tables would wait for ever for another one to bring some. */
function assertHasTables(file: string, cwd: string, given: boolean): void {
  if (existsSync(file) && countTables(file) > 0) return;
  const shown = relative(cwd, file);
  const home = dirname(file);
  if (given && !existsSync(home))
    throw new AntiphonError(
      'BAD_OPTION',
      `The folder ${home} does not exist. Create it, or correct the file.`,
      {
        context: { file },
      },
    );
  const what = existsSync(file) ? `${shown} has no tables` : `There is no file ${shown}`;
  const message =
    `${what}: a cluster begins with the tables of a database. Name one with --file, or create ` +
    `one: \`sqlite3 ${shellWord(shown)} "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"\`.`;
  throw new AntiphonError('BAD_OPTION', message, { context: { file } });
}

function countTables(file: string): number {
  try {
    const database = openDatabase(file, { readOnly: true });
    try {
      const sql = `SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE ?`;
      return (database.prepare(sql).get(METADATA_TABLES) as { tables: number }).tables;
    } finally {
      database.close();
    }
  } catch (cause) {
    const message = `${file} cannot be opened as a SQLite database: ${sentence((cause as Error).message)}`;
    throw new AntiphonError('BAD_OPTION', message, { cause, context: { file } });
  }
}
