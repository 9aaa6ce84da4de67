import { type Context, ROOT_CONTEXT, type Span, SpanKind } from '@opentelemetry/api';
import type { Replica } from '@antiphon/replica';
import { contextOf, isUnderTrace, type SpanSpec, traced } from '@antiphon/replica/internal';
import type { IncomingHttpHeaders } from 'node:http';
import { errorAnswer } from './http-error.js';

/** Of a header that may come several times: W3C Trace Context takes none then. */
export function traceOf(headers: IncomingHttpHeaders): Context | undefined {
  return contextOf((name) => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  });
}

interface Traced {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

/**
 * The server's span of a request, as the conventions for HTTP have it. Where an instrumentation of
 * Node.js has made one already, that one is it.
 */
export function tracedRequest<T extends { readonly status?: number } | undefined>(
  { id, cluster }: Pick<Replica<unknown>, 'id' | 'cluster'>,
  { method, path, headers }: Traced,
  run: () => Promise<T>,
): Promise<T> {
  if (isUnderTrace()) return run();
  const describe = (): SpanSpec => ({
    ...{ name: `${method} ${path}`, kind: SpanKind.SERVER, parent: traceOf(headers) ?? ROOT_CONTEXT },
    attributes: {
      ...{ 'antiphon.cluster': cluster, 'antiphon.replica': id },
      ...{ 'http.request.method': method, 'http.route': path, 'url.path': path },
    },
    // What a client has asked for in vain is no error of a server.
    isFault: (thrown) => errorAnswer(thrown).status >= 500,
  });
  return traced(describe, (span) => withStatus(span, run));
}

async function withStatus<T extends { readonly status?: number } | undefined>(
  span: Span | undefined,
  run: () => Promise<T>,
): Promise<T> {
  try {
    const answer = await run();
    span?.setAttribute('http.response.status_code', answer?.status ?? 200);
    return answer;
  } catch (thrown) {
    span?.setAttribute('http.response.status_code', errorAnswer(thrown).status);
    throw thrown;
  }
}
