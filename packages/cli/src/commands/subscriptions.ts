import { listSubscriptions, removeSubscription, systemClock } from '@antiphon/core';
import type { SubscriptionInfo } from '@antiphon/replica';
import { describeSubscription } from '@antiphon/replica/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import { formatTable, type Column } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';

interface SubscriptionsOptions extends TargetOptions {
  readonly remove?: string;
}

const COLUMNS: readonly Column[] = [
  { title: 'subscription' },
  { title: 'active on' },
  { title: 'epoch', align: 'right' },
  { title: 'lag', align: 'right' },
  { title: 'last written' },
];

/** It reads and writes the registry itself: it works while no replica runs. */
export function defineSubscriptions(host: CommandHost): void {
  defineCommand<SubscriptionsOptions>(host, {
    name: 'subscriptions',
    description: 'the durable subscriptions of a cluster, and how far behind they are',
    examples: ['antiphon subscriptions', 'antiphon subscriptions --remove mailer'],
    configure: (command) => {
      command.option('--remove <name>', 'forget this one and its place; its instances end');
      addTargetOptions(command);
    },
    run: async ({ remove, ...options }, { terminal, env, cwd }) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      await client.members();
      const registry = client.nats.registry(client.cluster);
      // Before anything is removed: the place is to be shown then.
      const end = await client.nats.log(client.cluster).open({ create: false });
      if (remove === undefined) {
        const records = await listSubscriptions(registry);
        show(
          records.map((record) => describeSubscription(record, end)),
          terminal,
        );
        return EXIT.ok;
      }
      const record = await removeSubscription(registry, remove, systemClock().nowMs());
      showRemoved(describeSubscription(record, end), terminal);
      return EXIT.ok;
    },
  });
}

function show(subscriptions: readonly SubscriptionInfo[], terminal: Terminal): void {
  if (terminal.json) return terminal.out(`${toJson({ subscriptions })}\n`);
  if (subscriptions.length === 0) return terminal.out('There are no durable subscriptions.\n');
  const readable = subscriptions.filter(({ problem }) => problem === undefined);
  const rows = readable.map(({ name, holder, epoch, lagEntries, writtenAtMs }) => [
    name,
    holder?.replica ?? styled(terminal, 'yellow', 'nobody'),
    String(epoch),
    lagEntries === undefined ? styled(terminal, 'red', 'another log') : String(lagEntries),
    new Date(writtenAtMs).toISOString(),
  ]);
  if (rows.length > 0) terminal.out(formatTable(COLUMNS, rows, terminal));
  for (const { problem } of subscriptions)
    if (problem !== undefined) terminal.out(`${styled(terminal, 'red', problem)}\n`);
}

function showRemoved({ name, place, holder, ...info }: SubscriptionInfo, terminal: Terminal): void {
  if (terminal.json) return terminal.out(`${toJson({ removed: { name, place, holder, ...info } })}\n`);
  const was = holder === undefined ? '' : ` It was active on ${holder.replica}, where it ends now.`;
  terminal.out(`${styled(terminal, 'bold', name)} is removed.${was}\n`);
  if (place !== '') terminal.out(`To begin a new one where it stood, give this as \`from\`:\n${place}\n`);
}
