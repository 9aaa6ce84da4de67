import {
  AntiphonError,
  ERROR_CODES,
  findClusterDocument,
  listSubscriptions,
  toAntiphonError,
} from '@antiphon/core';
import { describeServer } from '@antiphon/nats';
import { monitorAddress } from '@antiphon/nats/internal';
import { describeSubscription } from '@antiphon/replica/internal';
import { askMembers, type ClusterClient } from '@antiphon/client';
import { askCandidacies } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type Target, type TargetOptions } from '../cluster/target.js';
import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load-config.js';
import { certificateChecks } from '../doctor/certificate-checks.js';
import { fail, splitLast, splitSentence, warn, type Check, type Grade } from '../doctor/check.js';
import { failoverChecks } from '../doctor/failover-checks.js';
import { databaseChecks, nodeCheck } from '../doctor/local-checks.js';
import { agreementChecks, replicaChecks, withoutRepetition } from '../doctor/replica-checks.js';
import { serverChecks, unreachable } from '../doctor/server-checks.js';
import { subscriptionChecks } from '../doctor/subscription-checks.js';
import { syncChecks } from '../doctor/sync-checks.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled, type Style } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

interface DoctorOptions extends TargetOptions {
  readonly monitor?: string;
}

export function defineDoctor(host: CommandHost): void {
  defineCommand<DoctorOptions>(host, {
    name: 'doctor',
    description: 'look for what is wrong, and say what to do',
    examples: ['antiphon doctor --config antiphon.yaml'],
    configure: (command) => {
      command.option(
        '--monitor <url>',
        "the server's monitoring, like http://127.0.0.1:8222: tells how often it fsyncs",
        (text: string) => monitorAddress(text, '--monitor').href,
      );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd }) => {
      const config = options.config === undefined ? undefined : loadConfig(options.config, env);
      const target = resolveTarget(options, env, cwd);
      const ofFile = [nodeCheck(), ...(config === undefined ? [] : await databaseChecks(config))];
      const { ca, cert } = target.nats.tls ?? {};
      const certificates = {
        ...{ 'nats.tls.ca': ca, 'nats.tls.cert': cert },
        'http.tls.cert': config?.http?.tls?.cert,
      };
      ofFile.push(...certificateChecks(certificates, Date.now()));
      const ofCluster = await clusterChecks(target, config, options.monitor, terminal);
      const checks = withoutRepetition(ofFile, ofCluster, config?.id);
      show(checks, terminal);
      return checks.some(({ grade }) => grade === 'fail') ? EXIT.failed : EXIT.ok;
    },
  });
}

async function clusterChecks(
  target: Target,
  config: Config | undefined,
  monitorUrl: string | undefined,
  terminal: Terminal,
): Promise<readonly Check[]> {
  let client: ClusterClient;
  try {
    client = await openCluster(target, terminal);
  } catch (thrown) {
    return [unreachable(toAntiphonError(thrown).message)];
  }
  try {
    const { cluster, nats } = client;
    const server = await describeServer(nats, {
      cluster,
      ...(monitorUrl === undefined ? {} : { monitorUrl }),
    });
    const checks = [...serverChecks(server)];
    if (server.log === undefined) return checks;
    const found = await findClusterDocument(nats.registry(cluster)).catch(malformedAsResult);
    if (found instanceof AntiphonError) {
      const { message, advice } = splitLast(found.message);
      return [...checks, fail('registry', message, advice)];
    }
    if (found === undefined) {
      const advice =
        'Restore the registry (the key-value bucket of the cluster). Or begin anew: remove the stream, and follow docs/lost-log.md for the databases.';
      return [
        ...checks,
        fail('registry', `There is a log, but no description of cluster ${cluster}.`, advice),
      ];
    }
    const { document, passedOver } = found;
    if (passedOver !== undefined)
      checks.push(warn('registry', passedOver.message, 'A replica that runs writes it again.'));
    if (document.state === 'creating') {
      checks.push(
        warn(
          'registry',
          `${cluster} is still being created by ${document.creator}.`,
          `Start ${document.creator}.`,
        ),
      );
    }
    if (config !== undefined) checks.push(...agreementChecks(config, document));
    const answers = await askMembers(client);
    const statuses = answers.flatMap(({ status }) => status ?? []);
    const { generation, firstSeq, lastSeq } = await nats.log(cluster).open({ create: false });
    const subscriptions = (await listSubscriptions(nats.registry(cluster))).map((record) =>
      describeSubscription(record, { generation, lastSeq }),
    );
    return [
      ...checks,
      ...replicaChecks(answers, Date.now()),
      ...syncChecks(statuses, server.log),
      ...(document.failover === undefined ? [] : failoverChecks(await askCandidacies(client), document)),
      ...subscriptionChecks(subscriptions, firstSeq, Date.now()),
    ];
  } catch (thrown) {
    const error = toAntiphonError(thrown);
    const { message, advice } = splitSentence(error.message, ERROR_CODES[error.code].do);
    return [fail('cluster', message, advice)];
  } finally {
    await client.close();
  }
}

const STYLES: Readonly<Record<Grade, Style>> = { ok: 'green', warn: 'yellow', fail: 'red' };

/** What replicas that have never run could not go on from either. */
function malformedAsResult(error: unknown): AntiphonError {
  if (error instanceof AntiphonError && error.code === 'MALFORMED_MESSAGE') return error;
  throw error;
}

function show(checks: readonly Check[], terminal: Terminal): void {
  const count = (grade: Grade): number => checks.filter((check) => check.grade === grade).length;
  if (terminal.json) {
    terminal.out(`${toJson({ healthy: count('fail') === 0, checks })}\n`);
    return;
  }
  for (const { grade, message, advice } of checks) {
    terminal.out(`${styled(terminal, STYLES[grade], grade.padEnd(4))}  ${message}\n`);
    if (advice !== undefined) terminal.out(`      → ${advice}\n`);
  }
  terminal.out(`\n${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed\n`);
}
