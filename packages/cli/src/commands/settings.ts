import { AGREED_LIMITS, AntiphonError, findClusterDocument, newestLimits } from '@antiphon/core';
import type { AgreedLimits } from '@antiphon/replica';
import { changeAgreedLimits, type LimitsChange } from '@antiphon/replica/internal';
import type { ClusterClient } from '@antiphon/client';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

/** `antiphon settings list|set`: the limits that all replicas have agreed on. */
export function defineSettings(host: CommandHost): void {
  const program = host.program
    .command('settings')
    .description('the settings that all replicas of a cluster have agreed on');
  const own = { ...host, program };
  defineCommand<TargetOptions>(own, {
    name: 'list',
    description: 'show them',
    examples: ['antiphon settings list'],
    configure: addTargetOptions,
    run: async (options, { terminal, env, cwd }) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const settings = await settingsOf(client);
      if (terminal.json) terminal.out(`${toJson(settings)}\n`);
      else for (const name of AGREED_LIMITS) terminal.out(`${name} ${settings[name]}\n`);
      return EXIT.ok;
    },
  });
  defineCommand<TargetOptions>(own, {
    name: 'set',
    description: 'change one for all, while no replica runs',
    examples: ['antiphon settings set valueBytes 1048576', 'antiphon settings set clockRefusalMs 7200000'],
    configure: (command) => {
      command.argument('<name>', AGREED_LIMITS.join(', ')).argument('<value>', 'the new value');
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd }, [name = '', value = '']) => {
      const change = changeOf(name, value);
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.members();
      const { cluster, nats } = client;
      const ports = { registry: nats.registry(cluster), log: nats.log(cluster), bus: nats.bus() };
      const changed = await changeAgreedLimits({ cluster, ...ports }, change);
      terminal.out(terminal.json ? `${toJson(changed)}\n` : textOf(changed));
      return EXIT.ok;
    },
  });
}

async function settingsOf(client: ClusterClient): Promise<AgreedLimits> {
  await client.members();
  const found = await findClusterDocument(client.nats.registry(client.cluster));
  if (found === undefined)
    throw new AntiphonError('NO_ACTOR', `There is no cluster ${client.cluster}. Start its first replica.`);
  return newestLimits(found.document.limits);
}

function changeOf(name: string, value: string): Partial<AgreedLimits> {
  const known = AGREED_LIMITS.find((one) => one === name);
  if (known === undefined) {
    throw new AntiphonError(
      'BAD_OPTION',
      `"${name}" is not a setting of a cluster. These are: ${AGREED_LIMITS.join(', ')}.`,
    );
  }
  if (!/^\d{1,15}$/.test(value))
    throw new AntiphonError('BAD_OPTION', `"${value}" is not a value of ${name}. Give a whole number.`);
  return { [known]: Number(value) };
}

function textOf({ before, after, fromSeq }: LimitsChange): string {
  const changes = AGREED_LIMITS.filter((name) => before[name] !== after[name]);
  const shown = changes.map((name) => `${name} is ${after[name]} now (it was ${before[name]})`);
  const what = shown.length === 0 ? 'Nothing is different' : shown.join(', ');
  return `${what}, for entries of the log from ${fromSeq} on. Start the replicas again.\n`;
}
