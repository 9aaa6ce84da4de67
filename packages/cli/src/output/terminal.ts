/** What a command writes to, and what that place can show. */
export interface Terminal {
  /** To stdout: results. */
  out(text: string): void;
  /** To stderr: errors and warnings. */
  err(text: string): void;
  /** stdout is a terminal: progress may be redrawn in place. */
  readonly interactive: boolean;
  readonly color: boolean;
  readonly columns: number;
  /** Results as JSON on stdout, errors as JSON on stderr, nothing else. */
  readonly json: boolean;
}

const DEFAULT_COLUMNS = 80;

/** This process's stdout and stderr. Colours: only on a terminal, and never with NO_COLOR (no-color.org) set. */
export function processTerminal(json: boolean, env: NodeJS.ProcessEnv = process.env): Terminal {
  const interactive = process.stdout.isTTY && env['TERM'] !== 'dumb' && !json;
  const noColor = env['NO_COLOR'];
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    interactive,
    color: interactive && (noColor === undefined || noColor === ''),
    // A pseudo-terminal may say 0.
    columns: process.stdout.columns || DEFAULT_COLUMNS,
    json,
  };
}

/** A reader that goes away (`antiphon changes | head`) is not a failure: nobody wants the rest. */
export function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
}
