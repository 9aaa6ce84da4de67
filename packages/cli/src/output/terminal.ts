import { writeSync } from 'node:fs';
import { fileTrouble } from './file-trouble.js';
import { Silence } from './silence.js';
import { styled } from './style.js';

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
  /**
   * What the command waits for from now on (`NATS to answer`), for people: said on stderr when
   * nothing was written for a second.
   */
  waitingFor(what: string): void;
}

const DEFAULT_COLUMNS = 80;

/**
 * This process's stdout and stderr. Colours: only on a terminal, and never with NO_COLOR
 * (no-color.org) set.
 */
export function processTerminal(json: boolean, env: NodeJS.ProcessEnv = process.env): Terminal {
  const interactive = process.stdout.isTTY && env['TERM'] !== 'dumb' && !json;
  const noColor = env['NO_COLOR'];
  const color = interactive && (noColor === undefined || noColor === '');
  const silence = new Silence((text) => process.stderr.write(styled({ color }, 'dim', text)));
  return {
    out: (text) => {
      silence.end();
      process.stdout.write(text);
    },
    err: (text) => {
      silence.end();
      process.stderr.write(text);
    },
    waitingFor: (what) => {
      if (process.stderr.isTTY && !json) silence.waitingFor(what);
    },
    interactive,
    color,
    // A pseudo-terminal may say 0.
    columns: process.stdout.columns || DEFAULT_COLUMNS,
    json,
  };
}

/**
 * A reader that goes away (`antiphon changes | head`) is not a failure: nobody wants the rest.
 * Output that a full disk does not take is one.
 */
export function endWithoutOutput(failed: number): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    const { message } = fileTrouble(error) ?? error;
    try {
      writeSync(process.stderr.fd, `error: ${message}\n`);
    } finally {
      process.exit(failed);
    }
  });
  // Nobody can be told.
  process.stderr.on('error', ({ code }: NodeJS.ErrnoException) =>
    process.exit(code === 'EPIPE' ? 0 : failed),
  );
}
