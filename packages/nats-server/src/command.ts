import { spawn } from 'node:child_process';

export interface CommandResult {
  /**
   * The exit code; undefined when the command could not be run, was ended by a signal, or took too
   * long.
   */
  readonly code: number | undefined;
  /** What it wrote to stdout and stderr; of a longer text, the end. */
  readonly output: string;
}

export interface CommandOptions {
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const KEPT_OUTPUT_CHARACTERS = 8192;

/**
 * Runs a command to its end, without a terminal or a standard input, so that nothing can stop to
 * ask. Never rejects.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  { timeoutMs, env = {}, signal }: CommandOptions,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    let output = '';
    const keep = (chunk: string): void => {
      output = (output + chunk).slice(-KEPT_OUTPUT_CHARACTERS);
    };
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      ...(signal === undefined ? {} : { signal }),
    });
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.once('error', (error) => {
      keep(error.message);
      resolve({ code: undefined, output });
    });
    child.once('close', (code, signalName) => {
      if (signalName !== null) keep(`\nended by ${signalName} (the limit is ${timeoutMs} ms)`);
      resolve({ code: code ?? undefined, output });
    });
  });
}

/** The last line that says something: what a failed command usually ends with. */
export function lastLine(output: string): string {
  return output.trim().split('\n').at(-1)?.trim() ?? '';
}
