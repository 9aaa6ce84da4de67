/** A span of a trace, as W3C Trace Context writes it. */
export interface TraceContext {
  /** `00-<trace id>-<span id>-<flags>`, in hexadecimal digits. */
  readonly traceparent: string;
  /** What vendors add, as one line of printable ASCII. */
  readonly tracestate?: string;
}

/** The span that brought a transaction into the log, for whoever applies it. */
export interface TransactionTrace extends TraceContext {
  /** The transaction's counter. Its origin is that of the entry. */
  readonly counter: number;
}

/**
 * W3C Trace Context 1, 3.2.2: ids of zeros are none, and so is version ff. A later version may have
 * more behind the flags.
 */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?=-|$)/;
const LENGTH = 55;
/** Longer than that, whoever passes it on may drop it. */
const TRACESTATE = /^[\x20-\x7e]{1,512}$/;
const LINE = /^(\d{1,16}) (\S+)(?: (.+))?$/;

/** undefined: it is none, and counts as absent. A `tracestate` that is none is dropped alone. */
export function readTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  if (traceparent === undefined || !isTraceparent(traceparent)) return undefined;
  const isState = tracestate !== undefined && TRACESTATE.test(tracestate);
  return { traceparent: traceparent.slice(0, LENGTH), ...(isState && { tracestate }) };
}

function isTraceparent(text: string): boolean {
  return TRACEPARENT.test(text) && (text.length === LENGTH || !text.startsWith('00'));
}

/** As a line of a header. */
export function formatTransactionTrace({ counter, traceparent, tracestate }: TransactionTrace): string {
  const line = `${counter} ${traceparent}`;
  return tracestate === undefined ? line : `${line} ${tracestate}`;
}

/** undefined: it is none, and counts as absent. */
export function readTransactionTrace(line: string): TransactionTrace | undefined {
  const [, counter, traceparent, tracestate] = LINE.exec(line) ?? [];
  const context = readTraceContext(traceparent, tracestate);
  return context && { counter: Number(counter), ...context };
}
