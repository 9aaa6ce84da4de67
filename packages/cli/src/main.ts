import { toAntiphonError } from '@antiphon/core';
import { CommanderError } from 'commander';
import { EXIT, exitCodeOf, type ExitCode } from './output/exit-code.js';
import { reportError } from './output/error-report.js';
import { fileTrouble } from './output/file-trouble.js';
import { isGivenUp, reportInterruption } from './output/interruption.js';
import { processTerminal } from './output/terminal.js';
import { meantBy, usageError } from './output/usage-error.js';
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
        ? usageError(thrown, argv, program)
        : (fileTrouble(thrown) ?? toAntiphonError(thrown));
    const terminal = processTerminal(json, env);
    if (signal.aborted && isGivenUp(thrown)) {
      reportInterruption(terminal, meantBy(argv, program).name, thrown);
      return EXIT.interrupted;
    }
    reportError(terminal, error);
    return exitCodeOf(error);
  }
}
