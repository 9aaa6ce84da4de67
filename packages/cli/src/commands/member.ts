import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient } from '@antiphon/client';
import { anotherReplica } from '@antiphon/client/internal';
import { AntiphonError } from '@antiphon/core';
import type { Removal } from '@antiphon/replica';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { confirmed } from './confirm.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

/** Handing over, and sending what it has. */
const LEAVE_MS = 10_000;
const ENDING_MS = 250;
const ENDING_TRIES = 40;

interface RemoveOptions extends TargetOptions {
  readonly force?: boolean;
}

export function defineMember(host: CommandHost): void {
  const program = host.program.command('member').description('the members of a cluster');
  defineLeave({ ...host, program });
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
        await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
        const asked = await anotherReplica(client, id);
        const removal = await client.replica(asked).ask('removeMember', { id, force }, { signal });
        show(removal, terminal);
        return EXIT.ok;
      },
    },
  );
}

interface LeaveOptions extends RemoveOptions {
  readonly yes?: boolean;
}

/** It has ended by then: another one says what is left. */
function defineLeave(host: CommandHost): void {
  defineCommand<LeaveOptions>(host, {
    name: 'leave',
    description: 'let a running replica leave the cluster for good: a primary hands over first',
    examples: ['antiphon member leave eu-3', 'antiphon member leave eu-3 --yes --json'],
    configure: (command) => {
      command
        .argument('<id>', 'of the replica that leaves')
        .option('--force', 'also when its rescue ledger keeps transactions: save its file')
        .option('-y, --yes', 'without asking; needed where nobody can answer');
      addTargetOptions(command);
    },
    run: async ({ force = false, yes = false, ...options }, { terminal, env, cwd, signal }, [id = '']) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.requireMember(id);
      const asked = await anotherReplica(client, id);
      const question = `Let ${id} leave ${client.cluster} for good? Its process ends.`;
      if (!yes && !(await confirmed(terminal, question, signal))) {
        terminal.out('Nothing was changed.\n');
        return EXIT.failed;
      }
      const left = await client
        .replica(id)
        .ask('leave', { force, timeoutMs: LEAVE_MS }, { signal, timeoutMs: 4 * LEAVE_MS });
      if (left.handedOverTo !== undefined && !terminal.json)
        terminal.out(`${styled(terminal, 'bold', left.handedOverTo)} is the primary now.\n`);
      show(await removed(client.replica(asked), id, signal), terminal, left.handedOverTo);
      return EXIT.ok;
    },
  });
}

/** Until it has ended, it answers. */
async function removed(
  replica: ReturnType<ClusterClient['replica']>,
  id: string,
  signal: AbortSignal,
): Promise<Removal> {
  for (let left = ENDING_TRIES; ; left--) {
    try {
      return await replica.ask('removeMember', { id, force: false }, { signal });
    } catch (error) {
      const isThere = error instanceof AntiphonError && error.code === 'MEMBER_RUNNING';
      if (!isThere || left === 0) throw error;
      await sleep(ENDING_MS, undefined, { signal });
    }
  }
}

function show({ id, members, sync }: Removal, terminal: Terminal, handedOverTo?: string): void {
  if (terminal.json) {
    const more = { ...(sync && { sync }), ...(handedOverTo !== undefined && { handedOverTo }) };
    terminal.out(`${toJson({ removed: id, members, ...more })}\n`);
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
