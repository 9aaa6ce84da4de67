import { formatTransactionTrace, readTransactionTrace, type TransactionTrace } from '@antiphon/core';
import type { Msg } from 'nats';

/** Beside the payload, which is kept as it is: a line for each transaction that is traced. */
export const TRACE_HEADER = 'Antiphon-Trace';
const MAX_LINES = 64;
/** Of the name, the colon, the space and the end of a line. */
const LINE_BYTES = TRACE_HEADER.length + 4;

/**
 * As many as fit into `roomBytes`, which the data has left: with headers, a message is no larger
 * than one that is full of data.
 */
export function traceLines(traces: readonly TransactionTrace[], roomBytes: number): readonly string[] {
  let leftBytes = roomBytes;
  const lines: string[] = [];
  for (const line of traces.slice(0, MAX_LINES).map(formatTransactionTrace)) {
    leftBytes -= LINE_BYTES + line.length;
    if (leftBytes < 0) break;
    lines.push(line);
  }
  return lines;
}

/** What is no trace is passed over: it is for people who look, and decides nothing. */
export function tracesOf({ headers }: Msg): readonly TransactionTrace[] {
  const lines = headers?.values(TRACE_HEADER) ?? [];
  return lines.slice(0, MAX_LINES).flatMap((line) => readTransactionTrace(line) ?? []);
}
