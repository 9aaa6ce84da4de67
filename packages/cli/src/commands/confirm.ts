import { createInterface } from 'node:readline/promises';
import { AntiphonError } from '@antiphon/core';
import type { Terminal } from '../output/terminal.js';

/** Asks a person. @throws AntiphonError BAD_OPTION where nobody can answer. */
export async function confirmed(terminal: Terminal, question: string, signal: AbortSignal): Promise<boolean> {
  if (!terminal.interactive || !process.stdin.isTTY) {
    throw new AntiphonError('BAD_OPTION', `${question} Nobody can answer here. Confirm it with \`--yes\`.`, {
      context: { option: '--yes' },
    });
  }
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  try {
    // Ctrl-D closes it without an answer. Ctrl-C, which comes as no signal here, is no consent.
    const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const asked = lines.question(`${question} [y/N] `, { signal }).catch((error: unknown) => {
      if (signal.aborted) throw error;
      return '';
    });
    const answer = await Promise.race([asked, closed]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}
