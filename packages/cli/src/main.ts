import { AntiphonError, toAntiphonError } from '@antiphon/core';
import { CommanderError, type Command } from 'commander';
import { EXIT, exitCodeOf, type ExitCode } from './output/exit-code.js';
import { reportError } from './output/error-report.js';
import { fileTrouble } from './output/file-trouble.js';
import { processTerminal } from './output/terminal.js';
import { createProgram } from './program.js';
import { endingSignal } from './ending-signal.js';

/** Runs the command line; resolves to the exit code. The one place that catches. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  let json = argv.includes('--json');
  const signal = endingSignal();
  const program = createProgram({
    context: (asJson) => {
      json = asJson;
      return { terminal: processTerminal(asJson, env), env, cwd: process.cwd(), signal };
    },
    finished: (code) => {
      exitCode = code;
    },
  });
  if (argv.length === 0) {
    program.outputHelp();
    return EXIT.ok;
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.ok;
    const error =
      thrown instanceof CommanderError
        ? usageError(thrown, commandOf(argv, program))
        : (fileTrouble(thrown) ?? toAntiphonError(thrown));
    reportError(processTerminal(json, env), error);
    return exitCodeOf(error);
  }
}

/** What was meant, as far as it is named before anything else: its help has the options. */
function commandOf([first, ...rest]: readonly string[], { commands }: Command): string {
  const command = commands.find((one) => one.name() === first);
  return command === undefined ? '' : ` ${command.name()}${commandOf(rest, command)}`;
}

function usageError(error: CommanderError, command: string): AntiphonError {
  if (error.code === 'commander.help') {
    return new AntiphonError('BAD_OPTION', `Name a command. \`antiphon${command} --help\` lists them.`);
  }
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\n\(?/g, ' (')
    .trim();
  return new AntiphonError(
    'BAD_OPTION',
    `${message}${/[.)?]$/.test(message) ? '' : '.'} See \`antiphon${command} --help\`.`,
  );
}
