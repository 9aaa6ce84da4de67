import { parseOutcomeId } from '@antiphon/core';
import type { Outcome } from '@antiphon/replica';
import { witnessFor } from '@antiphon/client/internal';
import { isOutcomeId } from '@antiphon/replica/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled, type Style } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

interface OutcomeOptions extends TargetOptions {
  readonly replica?: string;
}

export function defineOutcome(host: CommandHost): void {
  defineCommand<OutcomeOptions>(host, {
    name: 'outcome',
    description: 'tell what became of a write: committed, rejected, or nobody knows yet',
    examples: [
      'antiphon outcome eu-1:42',
      "antiphon outcome 'eu-1:42~x7Kq' --replica eu-2 --json",
      'antiphon outcome order-7',
    ],
    configure: (command) => {
      command
        .argument(
          '<id>',
          'of the transaction, as `antiphon exec` or the error showed it, or of the request (--request-id)',
        )
        .option(
          '-r, --replica <id>',
          'who is asked (default: the replica that wrote it, or one that answers)',
        );
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd, signal }, [id = '']) => {
      const origin = originOf(id);
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const replica = options.replica ?? (await witnessFor(client, origin ?? ''));
      await client.requireMember(replica);
      const outcome = await client.replica(replica).ask('outcome', { id }, { signal });
      // Of a member that was removed the others may still know; of an id that was never one, nobody
      // does.
      if (outcome.outcome === 'unknown' && origin !== undefined) await client.requireMember(origin);
      show(outcome, replica, terminal);
      return outcome.outcome === 'unknown' ? EXIT.failed : EXIT.ok;
    },
  });
}

/** Undefined where it is no transaction's: then it is the id of a request. */
function originOf(id: string): string | undefined {
  return isOutcomeId(id) ? parseOutcomeId(id).origin : undefined;
}

const STYLES: Readonly<Record<Outcome['outcome'], Style>> = {
  committed: 'green',
  rejected: 'red',
  unknown: 'yellow',
};

function show({ outcome, id, position, reason }: Outcome, replica: string, terminal: Terminal): void {
  if (terminal.json) {
    terminal.out(`${toJson({ outcome, transaction: id, position, reason, replica })}\n`);
    return;
  }
  const where = position === undefined ? '' : ` at position ${position.seq} of the log`;
  const consequence = outcome === 'rejected' ? ': nothing of it was written' : '';
  terminal.out(
    `${id} ${styled(terminal, STYLES[outcome], outcome)}${where}${consequence} (says ${replica})\n`,
  );
  if (reason !== undefined) terminal.out(`${reason}\n`);
  if (outcome === 'unknown' && !id.includes('~') && originOf(id) !== undefined)
    terminal.out(
      `Check the id. A write whose outcome may be unknown has one with a token, like ${id}~x7Kq, as its error showed.\n`,
    );
}
