import {
  type Attributes,
  type Context,
  context,
  createTraceState,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { AntiphonError, readTraceContext, type TraceContext } from '@antiphon/core';

const NAME = 'antiphon';

/** A span that is to be made. */
export interface SpanSpec {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  /**
   * What it is a part of.
   * @defaultValue what is under way
   */
  readonly parent?: Context;
  readonly links?: readonly Link[];
  /**
   * Whether what is thrown is an error of what the span is about.
   * @defaultValue it is, whatever it is
   */
  readonly isFault?: (thrown: unknown) => boolean;
}

/** What stands for the SDK that may be registered, in the API of version 1. */
interface Standing {
  getDelegateTracer?(name: string): Tracer | undefined;
  getDelegate?(): unknown;
}

/** undefined where no SDK is registered: then nothing is done for a trace. */
export function tracer(): Tracer | undefined {
  const provider: TracerProvider & Standing = trace.getTracerProvider();
  return provider.getDelegateTracer === undefined
    ? provider.getTracer(NAME)
    : provider.getDelegateTracer(NAME);
}

/** Whether an SDK is registered in this process. */
export function isTracing(): boolean {
  return tracer() !== undefined;
}

/**
 * Runs `run` within a span, if somebody traces and `describe` has one. It ends with the promise; an
 * error is told by its code. Messages may quote rows, and stay out.
 */
export function traced<T>(
  describe: () => SpanSpec | undefined,
  run: (span?: Span) => Promise<T>,
): Promise<T> {
  const begun = begin(describe);
  return begun === undefined ? run() : within(begun, run);
}

/** As `traced`, only where something is under way: by itself it is no news. */
export function tracedWithin<T>(describe: () => SpanSpec, run: (span?: Span) => Promise<T>): Promise<T> {
  return isUnderTrace() ? traced(describe, run) : run();
}

/** What happens now is a part of some span. */
export function isUnderTrace(): boolean {
  return trace.getSpanContext(context.active()) !== undefined;
}

interface Begun extends Pick<SpanSpec, 'isFault'> {
  readonly span: Span;
  readonly parent: Context;
}

/** A span that ends where `end` is called. undefined where nobody traces. */
export function begin(describe: () => SpanSpec | undefined): Begun | undefined {
  const own = tracer();
  const spec = own && describe();
  if (own === undefined || spec === undefined) return undefined;
  const { name, kind, attributes, parent = context.active(), links = [], ...others } = spec;
  return { span: own.startSpan(name, { kind, attributes, links: [...links] }, parent), parent, ...others };
}

async function within<T>(
  { span, parent, isFault = () => true }: Begun,
  run: (span: Span) => Promise<T>,
): Promise<T> {
  try {
    return await context.with(trace.setSpan(parent, span), () => run(span));
  } catch (thrown) {
    if (isFault(thrown)) failed(span, thrown);
    throw thrown;
  } finally {
    span.end();
  }
}

export function failed(span: Span, thrown: unknown): void {
  const type = thrown instanceof AntiphonError ? thrown.code : nameOf(thrown);
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR, message: type });
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : '_OTHER';
}

/** Goes on with what another actor or process had under way. */
export function inContext<T>(at: Context | undefined, run: () => T): T {
  return at === undefined ? run() : context.with(at, run);
}

/** For others to go on with. undefined: nobody looks at it. */
export function sampled(span: Span | undefined): SpanContext | undefined {
  const own = span?.spanContext();
  return own !== undefined && (own.traceFlags & TraceFlags.SAMPLED) !== 0 ? own : undefined;
}

/** Of what is under way, for the headers of a request. undefined: there is nothing. */
export function traceHeaders(): Readonly<Record<string, string>> | undefined {
  const under = trace.getSpanContext(context.active());
  return under && { ...traceContextOf(under) };
}

export function traceContextOf({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const tracestate = traceState?.serialize();
  return {
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
    ...(tracestate !== undefined && tracestate !== '' && { tracestate }),
  };
}

/** undefined: the headers have none, or one that is none. */
export function contextOf(header: (name: string) => string | undefined): Context | undefined {
  const found = readTraceContext(header('traceparent'), header('tracestate'));
  return found && trace.setSpanContext(ROOT_CONTEXT, spanContextOf(found));
}

export function spanContextOf({ traceparent, tracestate }: TraceContext): SpanContext {
  const [, traceId = '', spanId = '', flags = '0'] = traceparent.split('-');
  return {
    ...{ traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true },
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  };
}

export function childOf(parent: SpanContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, parent);
}

/** What keeps spans sends them now, and is waited for no longer than that. Never rejects. */
export async function flushSpans(timeoutMs: number): Promise<void> {
  const standing: TracerProvider & Standing = trace.getTracerProvider();
  const provider = standing.getDelegate?.() ?? standing;
  const { forceFlush } = provider as { readonly forceFlush?: () => Promise<void> };
  if (typeof forceFlush !== 'function') return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)));
  try {
    await Promise.race([forceFlush.call(provider), late]);
  } catch {
    // The SDK has said so itself, through its own logger.
  } finally {
    clearTimeout(timer);
  }
}
