import { redact } from '@antiphon/core';
import type { Logger } from '@antiphon/replica';
import { pino } from 'pino';
import { toJson } from './json.js';
import { styled, type Style } from './style.js';
import type { Terminal } from './terminal.js';

export type ReplicaLogger = Logger;

type Level = 'debug' | 'info' | 'warn' | 'error';

const STYLES: Readonly<Record<Level, Style>> = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' };

/**
 * What a replica says while it runs: a JSON object a line (pino's) with --json, else a line for
 * people. Errors of other libraries come by here as they are, so secrets are taken out here once
 * more.
 */
export function createLogger(terminal: Terminal, base: Readonly<Record<string, unknown>>): ReplicaLogger {
  if (terminal.json) {
    return pino(
      { base: { pid: process.pid, ...base }, timestamp: pino.stdTimeFunctions.isoTime },
      { write: (line: string) => terminal.out(redact(line)) },
    );
  }
  const line =
    (level: Level) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      const { err, ...others } = fields;
      const time = new Date().toISOString().slice(11, 23);
      const detail = Object.keys(others).length === 0 ? '' : ` ${styled(terminal, 'dim', toJson(others))}`;
      const stack = err instanceof Error && err.stack !== undefined ? `${err.stack}\n` : '';
      const text = `${time} ${styled(terminal, STYLES[level], level.padEnd(5))} ${message}${detail}\n${stack}`;
      terminal.out(redact(text));
    };
  return { debug: () => undefined, info: line('info'), warn: line('warn'), error: line('error') };
}
