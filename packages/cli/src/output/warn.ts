import { toJson } from './json.js';
import type { Terminal } from './terminal.js';

/** What is not as it was asked for, and no error. */
export function warn(message: string, terminal: Pick<Terminal, 'err' | 'json'>): void {
  terminal.err(terminal.json ? `${toJson({ warning: message })}\n` : `! ${message}\n`);
}
