import { InvalidArgumentError, type Command } from 'commander';
import { addAccessOptions } from '../cluster/access-options.js';
import type { ExitCode } from '../output/exit-code.js';
import type { Terminal } from '../output/terminal.js';

/** What every command gets beside its own options. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborted by the first Ctrl-C, SIGTERM or SIGHUP; a second one ends the process at once. */
  readonly signal: AbortSignal;
}

/** What a command becomes part of. */
export interface CommandHost {
  readonly program: Command;
  context(json: boolean): CommandContext;
  finished(exitCode: ExitCode): void;
}

export interface CommandDefinition<O> {
  readonly name: string;
  readonly description: string;
  readonly examples: readonly string[];
  /** Adds arguments and options. */
  configure?(command: Command): void;
  run(options: O, context: CommandContext, args: readonly string[]): Promise<ExitCode>;
}

/**
 * Adds a command to the program: with --json, an example in its help, and the exit code of its run.
 */
export function defineCommand<O extends object>(host: CommandHost, definition: CommandDefinition<O>): void {
  const examples = definition.examples.map((example) => `  $ ${example}`).join('\n');
  const command = host.program
    .command(definition.name)
    .description(definition.description)
    .allowExcessArguments(false)
    .addHelpText('after', `\nExample:\n${examples}`);
  definition.configure?.(command);
  command.option('--json', 'results as JSON on stdout, errors as JSON on stderr');
  command.action(async () => {
    const options = command.opts<O & { readonly json?: boolean }>();
    host.finished(await definition.run(options, host.context(options.json === true), command.args));
  });
}

/** The options that say which cluster a command is about. */
export function addTargetOptions(command: Command): void {
  command
    .option('-c, --config <file>', 'the antiphon.yaml of a replica of the cluster')
    .option('--servers <urls>', 'NATS servers, separated by commas (or ANTIPHON_SERVERS)')
    .option('--cluster <name>', 'name of the cluster (or ANTIPHON_CLUSTER)');
  addAccessOptions(command);
}

/** For options that take a whole number. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/**
 * For options that take names separated by commas, and may be repeated. A name that has a comma or
 * spaces at its ends stands between double quotes, with `""` for one of them.
 */
export function commaList(text: string, before: readonly string[] = []): readonly string[] {
  const items: string[] = [];
  const item = /\s*(?:"((?:[^"]|"")+)"|([^",][^,]*?))\s*(,|$)/y;
  for (let separator: string | undefined = ','; separator === ',';) {
    const found = item.exec(text);
    const name = found?.[1]?.replaceAll('""', '"') ?? found?.[2];
    if (name === undefined || name.trim() === '')
      throw new InvalidArgumentError(
        'It must be names separated by commas. Put one that has a comma between "".',
      );
    items.push(name);
    separator = found?.[3];
  }
  return [...before, ...items];
}

/** What creates a cluster: these tables, or every one that can be replicated. */
export type TableChoice = readonly string[] | 'auto';

/** As `tables` in antiphon.yaml; a table that is called auto stands between double quotes. */
export function tableChoice(text: string, before?: TableChoice): TableChoice {
  const auto = text.trim() === 'auto';
  if (before === undefined) return auto ? 'auto' : commaList(text);
  if (auto || before === 'auto')
    throw new InvalidArgumentError('`auto` stands alone. Put a table of that name between "".');
  return commaList(text, before);
}

export function chosen(choice: TableChoice | undefined): readonly string[] | undefined {
  return choice === 'auto' ? undefined : choice;
}
