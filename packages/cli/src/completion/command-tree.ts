import type { Command } from 'commander';

/** A command as a shell completes it. */
export interface CommandNode {
  /** Its names from the first one on: `member remove`; empty for the program. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly OptionNode[];
}

export interface OptionNode {
  /** `-w` and `--watch`, as far as there are both. */
  readonly names: readonly string[];
  readonly description: string;
  /** What follows it: a file, something else, or nothing. */
  readonly value: 'file' | 'text' | 'none';
}

/** Values of these names are files or folders: `--config <file>`. */
const FILES = /<(file|folder)>/;

/** The program and all commands below it, each with the options that it takes. */
export function commandTree(command: Command, path = ''): readonly CommandNode[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command).filter((one) => one.name() !== 'help');
  const node: CommandNode = {
    path,
    commands: commands.map((one) => ({ name: one.name(), description: one.description() })),
    options: help.visibleOptions(command).map(({ short, long, flags, description }) => ({
      names: [short, long].filter((name) => name !== undefined),
      description,
      value: FILES.test(flags) ? 'file' : /[<[]/.test(flags) ? 'text' : 'none',
    })),
  };
  return [node, ...commands.flatMap((one) => commandTree(one, `${path} ${one.name()}`.trim()))];
}
