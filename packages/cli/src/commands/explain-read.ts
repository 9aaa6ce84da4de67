import {
  BALANCE_POLICIES,
  type BalanceOptions,
  type BalancePolicy,
  connect,
  explained,
  type ReadChoice,
  type ReadOptions,
} from '@antiphon/client';
import { suggest } from '@antiphon/core';
import { InvalidArgumentError } from 'commander';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { formatTable, type Column, type TablePlace } from '../output/table.js';
import { addTargetOptions, defineCommand, wholeNumber, type CommandHost } from './define.js';
import { CONSISTENCIES } from './query.js';

interface ExplainReadOptions extends TargetOptions {
  readonly consistency?: NonNullable<ReadOptions['consistency']>;
  /** Seconds. */
  readonly maxLag?: number;
  readonly policy?: BalancePolicy;
  readonly prefer?: NonNullable<BalanceOptions['prefer']>;
  readonly zone?: string;
}

const PREFERENCES = ['replicas', 'any', 'primary'] as const;
const DEFAULT_POLICY: BalancePolicy = 'least-outstanding';
const MAX_LAG_S = 300;
const MS_PER_SECOND = 1000;

/** `antiphon explain-read`: which replica an application's read would be sent to, and why. */
export function defineExplainRead(host: CommandHost): void {
  defineCommand<ExplainReadOptions>(host, {
    name: 'explain-read',
    description: 'which replica an application that spreads its reads would ask now, and why not the others',
    examples: ['antiphon explain-read', 'antiphon explain-read --zone eu --policy nearest --max-lag 1'],
    configure: (command) => {
      command
        .option(
          '--consistency <promise>',
          'what the read promises, as for `query`',
          oneOfThese(CONSISTENCIES),
        )
        .option('--max-lag <seconds>', 'how old the answer may be', wholeNumber(1, MAX_LAG_S))
        .option('--policy <policy>', `one of ${BALANCE_POLICIES.join(', ')}`, oneOfThese(BALANCE_POLICIES))
        .option('--prefer <whom>', `one of ${PREFERENCES.join(', ')}`, oneOfThese(PREFERENCES))
        .option('--zone <zone>', 'where the application is: replicas of the same `reads.zone` come first');
      addTargetOptions(command);
    },
    run: async (options, { terminal, env, cwd }) => {
      const { cluster, nats } = resolveTarget(options, env, cwd);
      const { consistency, maxLag, policy = DEFAULT_POLICY, prefer, zone } = options;
      const balance = { policy, ...(prefer && { prefer }), ...(zone !== undefined && { zone }) };
      await using client = await connect({ cluster, ...nats, balance, name: `antiphon cli ${cluster}` });
      const choice = client.explain({
        ...(consistency && { consistency }),
        ...(maxLag !== undefined && { maxLagMs: maxLag * MS_PER_SECOND }),
      });
      terminal.out(
        terminal.json
          ? `${toJson({ cluster, policy, ...choice, replica: choice.replica ?? null })}\n`
          : textOf(cluster, choice, policy, terminal),
      );
      return choice.replica === undefined ? EXIT.failed : EXIT.ok;
    },
  });
}

const COLUMNS: readonly Column[] = [
  { title: 'may be asked' },
  { title: 'weight', align: 'right' },
  { title: 'zone' },
  { title: 'lag', align: 'right' },
];

function textOf(cluster: string, choice: ReadChoice, policy: BalancePolicy, place: TablePlace): string {
  const [chosen = '', ...despite] = explained({ ...choice, passedOver: [] }, policy);
  const rows = choice.replicas.map(({ id, weight, zone = '-', lagMs }) => [
    ...[id, String(weight), zone, `${(lagMs / MS_PER_SECOND).toFixed(1)} s`],
  ]);
  const table = rows.length === 0 ? [] : ['', formatTable(COLUMNS, rows, place).trimEnd()];
  const others = choice.passedOver.map(({ id, why }) => `${id}: ${why}`);
  const lines = [
    `cluster ${cluster}: ${chosen}`,
    ...despite,
    ...table,
    ...(others.length > 0 ? [''] : []),
    ...others,
  ];
  return `${lines.join('\n')}\n`;
}

function oneOfThese<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const known = names.find((name) => name === text);
    if (known !== undefined) return known;
    throw new InvalidArgumentError(suggest(text, names));
  };
}
