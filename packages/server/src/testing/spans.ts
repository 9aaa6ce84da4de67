import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { eventually } from '@antiphon/testing';

/** The real SDK of OpenTelemetry in this process, as `node --import ./tracing.mjs` has it. */
export class Spans implements AsyncDisposable {
  readonly #exporter = new InMemorySpanExporter();
  readonly #provider = new NodeTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(this.#exporter)],
  });

  constructor() {
    this.#provider.register();
  }

  of(traceId: string): readonly ReadableSpan[] {
    return this.#exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
  }

  get all(): readonly ReadableSpan[] {
    return this.#exporter.getFinishedSpans();
  }

  /** Once there are so many. Those of other replicas end when they have applied it. */
  async until(count: number, spans: () => readonly ReadableSpan[]): Promise<readonly ReadableSpan[]> {
    await eventually(`${count} spans are there`, () => spans().length >= count);
    return spans();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#provider.shutdown();
  }
}

/** Each with the spans in it, sorted: `POST /v1/execute@r2 > execute shop@r2`. */
export function pathsOf(spans: readonly ReadableSpan[]): readonly string[] {
  const nameOf = (span: ReadableSpan): string =>
    `${span.name}@${String(span.attributes['antiphon.replica'] ?? 'client')}`;
  const pathOf = (span: ReadableSpan): string => {
    const parent = spans.find((one) => one.spanContext().spanId === span.parentSpanContext?.spanId);
    return parent === undefined ? nameOf(span) : `${pathOf(parent)} > ${nameOf(span)}`;
  };
  return spans.map(pathOf).sort();
}
