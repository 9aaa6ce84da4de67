import type { Span, SpanContext } from '@opentelemetry/api';
import { type AppendResult, formatTransactionId, type TransactionTrace } from '@antiphon/core';
import { publishSpan, type TracedCluster } from './spans.js';
import { begin, childOf, failed, sampled, traceContextOf } from './tracer.js';

/** An own transaction, and the span that it was committed under. */
export interface TracedWrite {
  readonly counter: number;
  readonly trace: SpanContext;
}

/** An entry on its way into the log, as its traces show it. */
export interface Sending {
  /** For whoever reads the entry. */
  readonly traces: readonly TransactionTrace[];
  settled(result: AppendResult): void;
}

/** A span for each of them. undefined: none is traced, or nobody traces any more. */
export function sending(
  cluster: TracedCluster & { readonly id: string },
  writes: readonly TracedWrite[],
): Sending | undefined {
  const spans: Span[] = [];
  const traces: TransactionTrace[] = [];
  for (const { counter, trace } of writes) {
    const name = formatTransactionId({ origin: cluster.id, counter });
    const span = begin(() => publishSpan(cluster, name, childOf(trace)))?.span;
    if (span === undefined) continue;
    spans.push(span);
    const own = sampled(span);
    if (own !== undefined) traces.push({ counter, ...traceContextOf(own) });
  }
  if (spans.length === 0) return undefined;
  return {
    traces,
    settled: (result) => {
      for (const span of spans) {
        if (result.type === 'stored') span.setAttribute('antiphon.log.seq', result.seq);
        else failed(span, result.error);
        span.end();
      }
    },
  };
}
