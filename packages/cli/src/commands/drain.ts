import { AntiphonError } from '@antiphon/core';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

interface Wording {
  readonly name: 'drain' | 'resume';
  readonly description: string;
  readonly isDrained: boolean;
  readonly done: (id: string) => string;
}

/** `antiphon drain ID`: clients send their reads elsewhere. */
export function defineDrain(host: CommandHost): void {
  define(host, {
    name: 'drain',
    description:
      'let clients that spread their reads send no new ones to a replica, until it is resumed or restarted',
    isDrained: true,
    done: (id) =>
      `Clients send no new reads to ${id}. It follows as before. \`antiphon resume ${id}\` or a restart ends that.`,
  });
}

/** `antiphon resume ID`: it takes reads again. */
export function defineResume(host: CommandHost): void {
  define(host, {
    name: 'resume',
    description: 'let a replica that was drained take reads again',
    isDrained: false,
    done: (id) => `${id} takes reads again.`,
  });
}

function define(host: CommandHost, { name, description, isDrained, done }: Wording): void {
  defineCommand<TargetOptions>(host, {
    name,
    description,
    examples: [`antiphon ${name} eu-2`],
    configure: (command) => {
      command.argument('<replica>', 'its id');
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }, [id = '']) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.requireMember(id);
      await client
        .replica(id)
        .ask(name, undefined, { signal })
        .catch((thrown: unknown) => rethrow(thrown, id));
      terminal.out(terminal.json ? `${toJson({ replica: id, drained: isDrained })}\n` : `${done(id)}\n`);
      return EXIT.ok;
    },
  });
}

/** It does what it was asked when it comes to it. */
function rethrow(thrown: unknown, id: string): never {
  if (!(thrown instanceof AntiphonError) || thrown.code !== 'TIMEOUT') throw thrown;
  const message =
    `${id} did not answer in time. It does what it was asked once it answers again: \`antiphon status\` shows ` +
    'whether it is drained. It may be in a long write.';
  throw new AntiphonError('TIMEOUT', message, { cause: thrown, context: thrown.context });
}
