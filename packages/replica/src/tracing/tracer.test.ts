import { context, SpanKind, trace } from '@opentelemetry/api';
import { AntiphonError } from '@antiphon/core';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { afterEach, describe, expect, it } from 'vitest';
import { applySpan, callSpan } from './spans.js';
import {
  contextOf,
  flushSpans,
  isTracing,
  type SpanSpec,
  spanContextOf,
  traced,
  tracedWithin,
  traceHeaders,
} from './tracer.js';

const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const CLUSTER = { cluster: 'shop', id: 'eu-1', tracing: { sql: true } };
const describeCall = (): SpanSpec =>
  callSpan(CLUSTER, { operation: 'query', kind: SpanKind.INTERNAL, sql: ['SELECT 1'] });

function register(): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter();
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  return exporter;
}

afterEach(() => {
  trace.disable();
  context.disable();
});

describe('without an SDK', () => {
  it('nothing is described, and what is asked for just runs', async () => {
    const never = (): SpanSpec => {
      throw new Error('it was described');
    };
    expect(isTracing()).toBe(false);
    expect(await traced(never, (span) => Promise.resolve(span ?? 'no span'))).toBe('no span');
    expect(await tracedWithin(never, () => Promise.resolve('done'))).toBe('done');
    expect(traceHeaders()).toBeUndefined();
    await flushSpans(1000);
  });
});

describe('with an SDK', () => {
  it('what runs within a span is told to others', async () => {
    const exporter = register();
    const headers = await traced(describeCall, () => Promise.resolve(traceHeaders()));
    const [span] = exporter.getFinishedSpans();
    const { traceId = '', spanId = '' } = span?.spanContext() ?? {};
    expect(headers).toEqual({ traceparent: `00-${traceId}-${spanId}-01` });
    expect(span?.attributes).toEqual({
      ...{ 'antiphon.cluster': 'shop', 'antiphon.replica': 'eu-1', 'db.system.name': 'antiphon' },
      ...{ 'db.namespace': 'shop', 'db.operation.name': 'query', 'db.query.text': 'SELECT 1' },
    });
  });

  it('goes on with what a header says, state included', async () => {
    const exporter = register();
    const given: Record<string, string> = { traceparent: PARENT, tracestate: 'vendor=x' };
    const parent = contextOf((name) => given[name]);
    if (parent === undefined) throw new Error('there is no context');
    const headers = await traced(
      () => ({ ...describeCall(), parent }),
      () => Promise.resolve(traceHeaders()),
    );
    const [span] = exporter.getFinishedSpans();
    expect(span?.parentSpanContext?.spanId).toBe('00f067aa0ba902b7');
    expect(headers?.['tracestate']).toBe('vendor=x');
  });

  it('tells the code of an error, and nothing of its message', async () => {
    const exporter = register();
    const error = new AntiphonError('CONSTRAINT', 'Row 4711 is there.');
    await expect(traced(describeCall, () => Promise.reject(error))).rejects.toThrow('Row 4711');
    const [span] = exporter.getFinishedSpans();
    expect(span?.attributes['error.type']).toBe('CONSTRAINT');
    expect(JSON.stringify({ status: span?.status, events: span?.events })).not.toContain('4711');
  });

  it('leaves the text of statements out where that is asked for, and cuts what is long', () => {
    const call = {
      operation: 'execute',
      kind: SpanKind.CLIENT,
      sql: ['SELECT 1', 'x'.repeat(5000)],
    } as const;
    const without = callSpan({ ...CLUSTER, tracing: { sql: false } }, call).attributes;
    expect(without).not.toHaveProperty('db.query.text');
    expect(without['db.operation.batch.size']).toBe(2);
    expect(callSpan(CLUSTER, call).attributes['db.query.text']).toHaveLength(2000);
  });

  it('has no step of a write that nobody traces', async () => {
    const exporter = register();
    await tracedWithin(describeCall, () => Promise.resolve());
    expect(exporter.getFinishedSpans()).toEqual([]);
    await traced(describeCall, () => tracedWithin(describeCall, () => Promise.resolve()));
    expect(exporter.getFinishedSpans()).toHaveLength(2);
  });

  it('flushes, for no longer than it is given', async () => {
    const stuck = { onStart: () => undefined, onEnd: () => undefined, shutdown: () => Promise.resolve() };
    const forceFlush = (): Promise<void> => new Promise(() => undefined);
    new NodeTracerProvider({ spanProcessors: [{ ...stuck, forceFlush }] }).register();
    await flushSpans(50);
  });
});

describe('what is applied', () => {
  const traces = [1, 2].map((counter) => ({ counter, traceparent: PARENT.replace('b7-', `${counter}7-`) }));
  const seen = (spec: SpanSpec | undefined): object => ({
    parent: spec?.parent && trace.getSpanContext(spec.parent)?.spanId,
    links: spec?.links?.map((link) => link.context.spanId),
  });

  it('goes on with the one span that it came from, has links to several, and is nothing without any', () => {
    const [first] = traces;
    if (first === undefined) throw new Error('no trace');
    expect(seen(applySpan(CLUSTER, [first], 1))).toEqual({ parent: spanContextOf(first).spanId, links: [] });
    const several = traces.map((one) => spanContextOf(one).spanId);
    expect(seen(applySpan(CLUSTER, traces, 2))).toEqual({ parent: undefined, links: several });
    expect(applySpan(CLUSTER, [], 3)).toBeUndefined();
  });
});
