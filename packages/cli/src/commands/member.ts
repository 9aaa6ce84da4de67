import type { Removal } from '@antiphon/replica';
import { anotherReplica } from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

interface RemoveOptions extends TargetOptions {
  readonly force?: boolean;
}

export function defineMember(host: CommandHost): void {
  const program = host.program.command('member').description('the members of a cluster');
  defineCommand<RemoveOptions>(
    { ...host, program },
    {
      name: 'remove',
      description: 'take a member that is gone for good out of the cluster, so that no majority counts it',
      examples: ['antiphon member remove eu-3', 'antiphon member remove eu-3 --force --json'],
      configure: (command) => {
        command
          .argument('<id>', 'of the replica that is gone')
          .option('--force', 'also when it still answers: it ends then');
        addTargetOptions(command);
      },
      run: async ({ force = false, ...options }, { terminal, env, cwd, signal }, [id = '']) => {
        await using client = await openCluster(resolveTarget(options, env, cwd));
        const asked = await anotherReplica(client, id);
        const removal = await client.replica(asked).ask('removeMember', { id, force }, { signal });
        show(removal, terminal);
        return EXIT.ok;
      },
    },
  );
}

function show({ id, members, sync }: Removal, terminal: Terminal): void {
  if (terminal.json) {
    terminal.out(`${toJson({ removed: id, members, ...(sync && { sync }) })}\n`);
    return;
  }
  terminal.out(`${styled(terminal, 'bold', id)} is no longer a member. Members: ${members.join(', ')}\n`);
  if (sync !== undefined) {
    const { known, seq } = sync;
    const majority = Math.floor(known.length / 2) + 1;
    terminal.out(
      `From entry ${seq} of the log on, a majority is ${majority} of ${known.length} (${known.join(', ')}).\n`,
    );
  }
  terminal.out(`What ${id} wrote stays. If it is started again, it joins again.\n`);
}
