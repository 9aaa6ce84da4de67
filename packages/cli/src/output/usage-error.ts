import { AntiphonError, suggestion } from '@antiphon/core';
import type { Command, CommanderError } from 'commander';

/** A command line that is not one of `program`. */
export function usageError(error: CommanderError, argv: readonly string[], program: Command): AntiphonError {
  const { name, command } = meantBy(argv, program);
  if (error.code === 'commander.help')
    return new AntiphonError('BAD_OPTION', `Name a command. \`${name} --help\` lists them.`);
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\n\(?/g, ' (')
    .trim();
  const stop = /[.)?]$/.test(message) ? '' : '.';
  return new AntiphonError(
    'BAD_OPTION',
    `${message}${stop}${guessOf(error, command)} See \`${name} --help\`.`,
  );
}

interface Meant {
  readonly name: string;
  readonly command: Command;
}

/** As far as it is named before anything else: its help has the options. */
export function meantBy(
  [first, ...rest]: readonly string[],
  command: Command,
  name: string = command.name(),
): Meant {
  const found = command.commands.find((one) => one.name() === first);
  return found === undefined ? { name, command } : meantBy(rest, found, `${name} ${found.name()}`);
}

/** Commander's own suggestions may have nothing in common with what was written. */
function guessOf({ code, message }: CommanderError, command: Command): string {
  const [, dashes = '', word = ''] = /^error: unknown (?:option|command) '(-*)([^=']*)/.exec(message) ?? [];
  const best = suggestion(word, namesFor(code, command));
  return best === undefined ? '' : ` Did you mean "${dashes}${best}"?`;
}

function namesFor(code: string, command: Command): readonly string[] {
  const help = command.createHelp();
  if (code === 'commander.unknownCommand') return help.visibleCommands(command).map((one) => one.name());
  if (code !== 'commander.unknownOption') return [];
  return help.visibleOptions(command).flatMap(({ long }) => long?.replace(/^--/, '') ?? []);
}
