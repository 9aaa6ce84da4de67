import { setTimeout as sleep } from 'node:timers/promises';
import { accessFromEnvironment } from '@antiphon/client';
import { accessFor } from '@antiphon/client/internal';
import { AntiphonError, sentence, toAntiphonError } from '@antiphon/core';
import { createReplica, type Replica } from '@antiphon/replica';
import { flushSpans, handOverAhead } from '@antiphon/replica/internal';
import { sqlite, StatementWatchdog, type SqliteTransaction } from '@antiphon/sqlite';
import { Option } from 'commander';
import { LifecycleReport } from '../cluster/lifecycle-report.js';
import { accessFromOptions, addAccessOptions, type AccessOptions } from '../cluster/access-options.js';
import { onParentGone, reportToParent } from '../cluster/parent-link.js';
import type { Config } from '../config/config.js';
import { DEFAULT_CONFIG_FILE, loadConfig } from '../config/load-config.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { fileTrouble } from '../output/file-trouble.js';
import { createLogger, type ReplicaLogger } from '../output/logger.js';
import { defineCommand, type CommandContext, type CommandHost } from './define.js';

interface RunOptions extends AccessOptions {
  readonly config: string;
  readonly onStall?: 'stay' | 'exit';
}

const RETRY_MS = 1000;
/** A start that takes longer says what it waits for. */
const SILENCE_MS = 1500;
/** Well over what a replica gives itself to close. */
const CLOSE_LIMIT_MS = 30_000;
/** What the last spans have to get to where they are kept. */
const FLUSH_MS = 2000;
/** Between two reports of a start that gets on. */
const PROGRESS_MS = 500;

export function defineRun(host: CommandHost): void {
  defineCommand<RunOptions>(host, {
    name: 'run',
    description: 'run one replica: the microservice beside a database',
    examples: ['antiphon run --config antiphon.yaml'],
    configure: (command) => {
      command
        .option('-c, --config <file>', 'its configuration', DEFAULT_CONFIG_FILE)
        .addOption(
          new Option(
            '--on-stall <what>',
            'when replication stops until somebody acts: stay to answer, or exit (default: `onStall` of the file, else stay)',
          ).choices(['stay', 'exit']),
        );
      addAccessOptions(command);
    },
    run: async (options, context) => {
      const given = withAccess(loadConfig(options.config, context.env), options, context);
      const config = options.onStall === undefined ? given : { ...given, onStall: options.onStall };
      const logger = createLogger(context.terminal, { replica: config.id });
      try {
        // What gathers spans would end with the process, and they with it.
        return await runReplica(config, context, logger).finally(() => flushSpans(FLUSH_MS));
      } catch (thrown) {
        const error = fileTrouble(thrown) ?? toAntiphonError(thrown);
        reportToParent({ type: 'failed', code: error.code, message: error.message });
        throw error;
      }
    },
  });
}

/** The configuration with what the command line and the environment say about logging in. */
function withAccess(config: Config, options: RunOptions, { env, cwd }: CommandContext): Config {
  const { servers, ...own } = config.nats;
  const others = [own, accessFromEnvironment(env)];
  return { ...config, nats: { ...accessFor(servers, accessFromOptions(options, cwd), others), servers } };
}

async function runReplica(config: Config, context: CommandContext, logger: ReplicaLogger): Promise<ExitCode> {
  const parent = new AbortController();
  onParentGone(() => {
    logger.warn({}, 'The process that started this replica has ended. This one ends too.');
    parent.abort(new Error('the parent process has ended'));
  });
  const lifecycle = new LifecycleReport();
  const ending = [context.signal, parent.signal];
  const signal = AbortSignal.any(config.onStall === 'exit' ? [...ending, lifecycle.stalled] : ending);
  const replica = await startUntil(config, { signal, logger, lifecycle });
  if (lifecycle.stall !== undefined && config.onStall === 'exit' && replica === undefined)
    throw lifecycle.stall;
  if (replica === undefined) return EXIT.ok;
  // A start may have to do much at once; afterwards, only a write that does not end takes so long.
  const { blockedMs } = config.limits ?? {};
  using _watchdog = StatementWatchdog.start({
    name: `replica ${config.id}`,
    ...(blockedMs === undefined ? {} : { blockedMs }),
  });
  logger.info(
    { file: config.sqliteFile, cluster: config.cluster },
    `Replica ${config.id} takes part in ${config.cluster}.`,
  );
  const services = await served(replica, config, logger);
  reportToParent({ type: 'ready', pid: process.pid });

  const interrupted = new Promise<'interrupted'>((resolve) => {
    if (signal.aborted) resolve('interrupted');
    signal.addEventListener('abort', () => resolve('interrupted'), { once: true });
  });
  const end = await Promise.race([interrupted, replica.ended]);
  const { stall } = lifecycle;
  // Whoever asks elsewhere is answered while there is a replica that can. One slow read would keep
  // the role here for as long, and nobody could write.
  if (services.length > 0) await handOverAhead(replica);
  await Promise.all(services.map((service) => service.close()));
  await closed(replica).catch((thrown: unknown) => {
    // Why it ended says more than that it could not be closed.
    throw end instanceof AntiphonError ? end : thrown;
  });
  if (end instanceof AntiphonError) throw end;
  // Also when it is stopped: whoever stops it learns that it had done nothing for a while.
  if (stall !== undefined) throw stall;
  logger.info({}, `Replica ${config.id} has stopped.`);
  return EXIT.ok;
}

interface Closable {
  close(): Promise<void>;
}

/**
 * Over HTTP and on the subjects of the cluster, where the file says so. A replica that cannot be
 * served as it says ends.
 */
async function served(
  replica: Replica<SqliteTransaction>,
  { id, http, subjects }: Config,
  logger: ReplicaLogger,
): Promise<readonly Closable[]> {
  if (http === undefined && subjects === undefined) return [];
  try {
    // Other commands, and replicas that nobody is to ask, need not load it.
    const { createServer, serveSubjects } = await import('@antiphon/server');
    const server = http && (await createServer(replica, { ...http, logger }));
    if (server !== undefined)
      logger.info(
        { url: server.url },
        `Replica ${id} answers over HTTP at ${server.url}, and shows the cluster there to a browser.`,
      );
    const service = subjects && serveSubjects(replica, { ...subjects, logger });
    return [server, service].filter((one) => one !== undefined);
  } catch (error) {
    await closed(replica);
    throw error;
  }
}

interface Starting {
  readonly signal: AbortSignal;
  readonly logger: ReplicaLogger;
  readonly lifecycle: LifecycleReport;
}

/**
 * Its timer also keeps the process alive: with nothing else to wait for, Node.js would end it with
 * 13 in the middle of closing.
 */
async function closed(replica: Replica<SqliteTransaction>): Promise<void> {
  const limit = new AbortController();
  const late = sleep(CLOSE_LIMIT_MS, undefined, { signal: limit.signal }).then(
    () => {
      throw new AntiphonError(
        'TIMEOUT',
        `The replica was not closed within ${CLOSE_LIMIT_MS} ms. Its database is whole.`,
      );
    },
    () => undefined,
  );
  try {
    await Promise.race([replica.close(), late]);
  } finally {
    limit.abort();
  }
}

/** To whoever started this process, about once a second. */
function progressReporter(): () => void {
  let toldAtMs = -Infinity;
  return () => {
    if (performance.now() - toldAtMs < PROGRESS_MS) return;
    toldAtMs = performance.now();
    reportToParent({ type: 'progress' });
  };
}

/**
 * NATS may be away, and the cluster may not exist yet: both are waited for, for as long as it
 * takes. Whatever will not go away by waiting is thrown. Undefined when it was interrupted first.
 */
async function startUntil(
  config: Config,
  { signal, logger, lifecycle }: Starting,
): Promise<Replica<SqliteTransaction> | undefined> {
  let told = '';
  const waiting = setTimeout(() => {
    logger.info(
      { cluster: config.cluster },
      `${config.id} has not started yet: it waits for NATS to answer, and for cluster ${config.cluster} to be created by a replica that has tables.`,
    );
  }, SILENCE_MS);
  signal.addEventListener('abort', () => clearTimeout(waiting), { once: true });
  while (!signal.aborted) {
    try {
      const replica = await createReplica({
        cluster: config.cluster,
        id: config.id,
        ...config.nats,
        ...(config.streamReplicas === undefined ? {} : { streamReplicas: config.streamReplicas }),
        store: sqlite({ ...config.sqlite, file: config.sqliteFile }),
        ...(config.tables === undefined ? {} : { tables: config.tables }),
        ...(config.localTriggers === undefined ? {} : { localTriggers: config.localTriggers }),
        ...(config.topology === undefined ? {} : { topology: config.topology }),
        ...(config.failoverPriority === undefined ? {} : { failoverPriority: config.failoverPriority }),
        ...(config.reads === undefined ? {} : { reads: config.reads }),
        ...(config.publish === undefined ? {} : { publish: config.publish }),
        ...(config.tracing === undefined ? {} : { tracing: config.tracing }),
        update: config.update,
        ...(config.failover === undefined ? {} : { failover: config.failover }),
        ...(config.limits === undefined ? {} : { limits: config.limits }),
        logger,
        signal,
        onProgress: progressReporter(),
        onLifecycle: (state, reason) => lifecycle.changed(state, reason),
      });
      clearTimeout(waiting);
      return replica;
    } catch (thrown) {
      const error = toAntiphonError(thrown);
      clearTimeout(waiting);
      if (signal.aborted) return undefined;
      if (!error.retriable) throw error;
      // Once for each reason: a broker that is away for a night is no reason for a line a second.
      if (error.message !== told)
        logger.warn({ code: error.code }, `${sentence(error.message)} Trying again until it works.`);
      told = error.message;
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}
