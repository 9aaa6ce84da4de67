import { counted, formatTransactionId } from '@antiphon/core';
import type { Acknowledgements, WriteResult } from '@antiphon/replica';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';

/**
 * A committed write for people: what changed on stdout, what it should have been and is not on
 * stderr.
 */
export function showWritten(
  { id, value, acks, degraded, repeated }: WriteResult<readonly number[]>,
  replica: string,
  terminal: Pick<Terminal, 'out' | 'err' | 'color'>,
  requestId?: string,
): void {
  const rows = value.reduce((sum, changes) => sum + changes, 0);
  // A request is replicated itself: without a transaction, it had been written when it came again.
  const asRequest = requestId === undefined ? 'nothing that is replicated changed' : `request ${requestId}`;
  const as = id === undefined ? asRequest : `transaction ${formatTransactionId(id)}`;
  const changed = `${counted(rows, 'row')} changed`;
  terminal.out(
    repeated === true
      ? `${changed} when this request was written. It was written before, and not again\n`
      : `${changed} on ${replica} (${as})\n`,
  );
  if (acks !== undefined && acks.by.length > 0) terminal.out(`acknowledged by ${acks.by.join(', ')}\n`);
  if (degraded === true) {
    const text = `DEGRADED: too few replicas are in sync. The write did not wait for the others${missingOf(acks)}.`;
    terminal.err(`${styled(terminal, 'red', '!')} ${styled(terminal, 'bold', text)}\n`);
  } else if (acks?.reached === false) {
    const text = `Committed, and in the log, but not acknowledged as asked (${acks.level}) in time${missingOf(acks)}.`;
    terminal.err(`${styled(terminal, 'yellow', '!')} ${text}\n`);
  }
}

function missingOf(acks: Acknowledgements | undefined): string {
  return acks === undefined || acks.missing.length === 0 ? '' : `: no answer of ${acks.missing.join(', ')}`;
}
