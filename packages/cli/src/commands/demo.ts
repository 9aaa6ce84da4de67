import { join, relative, resolve } from 'node:path';
import type { VerifyResult } from '@antiphon/replica';
import { openCluster } from '../cluster/open-cluster.js';
import { LocalCluster, type LocalReplica } from '../cluster/local-cluster.js';
import { CITY_COUNT } from '../demo/cities.js';
import { ownCommand } from '../output/own-command.js';
import { createCityDatabase, prepareDemoFolder } from '../demo/demo-folder.js';
import { replicateCities, type Replicated } from '../demo/replicate-cities.js';
import { PrimaryWatch } from '../demo/primary-watch.js';
import { tryNext } from '../demo/try-next.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import { defineCommand, wholeNumber, type CommandContext, type CommandHost } from './define.js';
import { replicaIds } from './replica-ids.js';
import { stayUntilEnded } from './stay.js';
import { topologyName, topologyOf, type TopologyName } from './topology-option.js';
import { updateName, updateOf, type UpdateName } from './update-option.js';
import { showVerification, verify } from './verify.js';

interface DemoOptions {
  readonly rows: number;
  readonly replicas: number;
  readonly topology: TopologyName;
  readonly update: UpdateName;
  readonly dir: string;
  readonly port?: number;
  readonly once?: boolean;
}

const CLUSTER = 'demo';
const DEFAULT_FOLDER = join('.antiphon', 'demo');
const DEFAULT_REPLICAS = 3;

export function defineDemo(host: CommandHost): void {
  defineCommand<DemoOptions>(host, {
    name: 'demo',
    description: 'a cluster of three on this machine, loaded with the cities of the world',
    examples: ['antiphon demo', 'antiphon demo --update sync', 'antiphon demo --rows 20000 --once --json'],
    configure: (command) =>
      void command
        .option('--rows <count>', 'how many cities', wholeNumber(1, CITY_COUNT), CITY_COUNT)
        .option('--replicas <count>', 'how many processes', wholeNumber(2, 9), DEFAULT_REPLICAS)
        .option('--topology <name>', 'primary-replica or multi-primary', topologyName, 'primary-replica')
        .option('--update <mode>', 'async, or sync: a write waits for all replicas', updateName, 'async')
        .option('--dir <folder>', 'where everything is kept; the next demo in it starts anew', DEFAULT_FOLDER)
        .option('--port <port>', 'of nats-server (default: a free one)', wholeNumber(1, 65_535))
        .option('--once', 'stop everything once all replicas hold the same rows'),
    run: (options, context) => demo(options, context),
  });
}

async function demo(options: DemoOptions, context: CommandContext): Promise<ExitCode> {
  const { terminal, cwd, signal } = context;
  const say = (text: string): void => (terminal.json ? undefined : terminal.out(`${text}\n`));
  const folder = resolve(cwd, options.dir);
  const [firstId, ...otherIds] = replicaIds(options.replicas);
  const replicaOf = (id: string): LocalReplica => ({ id, file: join(folder, `${id}.db`) });
  const replicas = [replicaOf(firstId), ...otherIds.map(replicaOf)] as const;
  const topology = topologyOf(options.topology, firstId);
  const update = updateOf(options.update, options.replicas);
  const failover = options.topology === 'primary-replica' ? ({ mode: 'automatic' } as const) : undefined;
  let watch: PrimaryWatch | undefined;
  const ownFolder = options.dir !== DEFAULT_FOLDER;
  const contextFolder = ownFolder ? folder : cwd;
  LocalCluster.assertNoneRuns(contextFolder);
  prepareDemoFolder(folder);
  createCityDatabase(replicas[0].file);

  say(
    styled(
      terminal,
      'bold',
      `Antiphon demo: ${options.replicas} replicas, ${options.topology}, ${options.update}, in ${relative(cwd, folder) || '.'}\n`,
    ),
  );
  const { port } = options;
  const cluster = await LocalCluster.start({
    ...{ cluster: CLUSTER, replicas, topology, update, folder, contextFolder, onEvent: say, signal },
    ...(failover === undefined ? {} : { failover }),
    // A demo that ends by itself has nobody who looks.
    http: options.once !== true,
    onEnded: (id) => watch?.ended(id),
    ...(port === undefined ? {} : { port }),
  }).catch((thrown: unknown) => {
    if (!signal.aborted) throw thrown;
    return undefined;
  });
  if (cluster === undefined) {
    say('\neverything has stopped');
    return EXIT.ok;
  }
  let exitCode: ExitCode = EXIT.ok;
  let ended: ExitCode = EXIT.ok;
  try {
    const target = { cluster: CLUSTER, nats: { servers: cluster.servers }, source: 'the demo' };
    await using client = await openCluster(target, terminal);
    say('');
    const loaded = await replicateCities({
      client,
      replicas: [firstId, ...otherIds],
      rows: options.rows,
      terminal,
      signal,
    });
    const verified = await verify(client, { signal });
    exitCode = verified.outcome === 'equal' && verified.absent.length === 0 ? EXIT.ok : EXIT.failed;
    report(context, options, loaded, verified, cluster, replicas);
    if (options.once !== true) {
      const command = ownCommand(contextFolder, context.env);
      const next = {
        replicas,
        topology,
        mode: update.mode,
        cwd: contextFolder,
        command,
        ...(ownFolder ? { folder: relative(cwd, folder) } : {}),
        primaryPid: cluster.processes[0]?.pid,
      };
      const { processes } = cluster;
      if (failover !== undefined) watch = new PrimaryWatch({ client, processes, command, say, signal });
      // Before anybody is told how to end it.
      await watch?.look();
      say(`\n${tryNext(next).join('\n')}`);
      for (const line of consoleLines(cluster, replicas)) say(styled(terminal, 'bold', line));
      say('\nCtrl-C stops everything.');
      [ended] = await Promise.all([stayUntilEnded(cluster, signal, terminal), watch?.run()]);
    }
  } catch (error) {
    await cluster.stop();
    if (signal.aborted) return EXIT.ok;
    throw error;
  }
  if (options.once === true) {
    await cluster.stop();
    return exitCode;
  }
  return exitCode === EXIT.ok ? ended : exitCode;
}

/** That of a follower first: it goes on while the primary fails. */
function consoleLines(cluster: LocalCluster, replicas: readonly LocalReplica[]): readonly string[] {
  const [first, ...others] = replicas.flatMap(({ id }) => {
    const url = cluster.urlOf(id);
    return url === undefined ? [] : [{ id, url }];
  });
  if (first === undefined) return [];
  const [shown = first, ...rest] = [...others, first];
  const also = rest.map(({ id, url }) => `${url} (${id})`).join(', ');
  return [
    `\nOpen the console in a browser, and watch it there: ${shown.url}`,
    `  or that of another replica: ${also}`,
  ];
}

function report(
  { terminal }: CommandContext,
  { rows, topology, update }: DemoOptions,
  { seconds, loadedSeconds }: Replicated,
  verified: VerifyResult,
  cluster: LocalCluster,
  replicas: readonly LocalReplica[],
): void {
  const rowsPerSecond = Math.round(rows / seconds);
  if (terminal.json) {
    const list = replicas.map(({ id, file }, index) => ({
      id,
      file,
      pid: cluster.processes[index]?.pid,
      ...verified.reports[id],
    }));
    const { servers } = cluster;
    terminal.out(
      `${toJson({ outcome: verified.outcome, rows, topology, update, seconds, rowsPerSecond, servers, replicas: list })}\n`,
    );
    return;
  }
  const count = rows.toLocaleString('en-US');
  const rate = `${rowsPerSecond.toLocaleString('en-US')} rows/s`;
  terminal.out(
    `${count} rows written through ${replicas[0]?.id} in ${loadedSeconds.toFixed(2)} s; ` +
      `all ${replicas.length} replicas held them after ${seconds.toFixed(2)} s: ${styled(terminal, 'bold', rate)}\n\n`,
  );
  showVerification(verified, terminal);
}
