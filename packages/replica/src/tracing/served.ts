import { type Context, context, SpanKind, trace } from '@opentelemetry/api';
import type { ExposeOptions } from '@antiphon/actor';
import { callSpan, type TracedCluster } from './spans.js';
import { contextOf, isTracing, type SpanSpec, traced } from './tracer.js';

/** A request on its way through the mailbox, which keeps nothing of its sender's context. */
export interface Served {
  readonly context?: Context;
}

const SQL_OF: Readonly<Record<'execute' | 'query', (request: never) => readonly string[]>> = {
  execute: ({ statements }: { readonly statements: readonly { readonly sql: string }[] }) =>
    statements.map(({ sql }) => sql),
  query: ({ sql }: { readonly sql: string }) => [sql],
};

/** The server's span of a call that came over the bus; it ends with the answer. */
export function servedSpans(cluster: TracedCluster): NonNullable<ExposeOptions['around']> {
  return ({ command, request, header }, ask) => {
    // A stream has a span of its own, which lasts for longer than the answer.
    if (command === 'stream' && isTracing())
      return ask({ ...(request as object), context: contextOf(header) });
    if ((command !== 'execute' && command !== 'query') || !isTracing()) return ask(request);
    const describe = (): SpanSpec => {
      const sql = SQL_OF[command](request as never);
      return callSpan(cluster, {
        ...{ operation: command, kind: SpanKind.SERVER, sql, parent: contextOf(header) },
      });
    };
    return traced(describe, (span) => {
      const at = context.active();
      return ask({ ...(request as object), context: span === undefined ? at : trace.setSpan(at, span) });
    });
  };
}
