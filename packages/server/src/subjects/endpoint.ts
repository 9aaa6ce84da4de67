import {
  type Bus,
  type BusHeaders,
  type BusRequest,
  type BusSubscription,
  toAntiphonError,
} from '@antiphon/core';
import type { Logger } from '@antiphon/replica';
import { callSpan, contextOf, type SpanSpec, traced, type TracedCluster } from '@antiphon/replica/internal';
import { ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import { errorAnswer, HttpError } from '../http/http-error.js';
import type { Answered } from '../operations/operation.js';
import type { SubjectWatch } from './subject-watch.js';
import { formatOf, JSON_FORMAT, type MessageFormat, tooLarge } from './message-format.js';

/** Of all replicas that listen on a subject, one gets each request. */
export const QUEUE = 'replicas';
const MS = 1_000_000;

export interface EndpointSpec {
  /** As NATS's tools show it. */
  readonly name: 'read' | 'write';
  readonly subject: string;
  /** What its spans are about. */
  readonly cluster: TracedCluster;
  /** Throws what the answer is to say then. */
  run(data: Uint8Array, format: MessageFormat): Promise<Answered>;
}

/** As NATS's service discovery tells it; times are nanoseconds. */
export interface EndpointStats {
  readonly name: string;
  readonly subject: string;
  readonly queue_group: string;
  readonly num_requests: number;
  readonly num_errors: number;
  readonly last_error: string;
  readonly processing_time: number;
  readonly average_processing_time: number;
  readonly data: { readonly listening: boolean };
}

/** One subject on which a replica answers while it should get requests. */
export class Endpoint {
  #subscription: BusSubscription | undefined;
  readonly #underWay = new Set<Promise<void>>();
  #requests = 0;
  #errors = 0;
  #lastError = '';
  #tookMs = 0;

  constructor(
    private readonly bus: Bus,
    private readonly spec: EndpointSpec,
    private readonly logger: Logger,
    private readonly watch: SubjectWatch,
  ) {}

  get isListening(): boolean {
    return this.#subscription !== undefined;
  }

  get subject(): string {
    return this.spec.subject;
  }

  get name(): 'read' | 'write' {
    return this.spec.name;
  }

  get stats(): EndpointStats {
    const { name, subject } = this.spec;
    return {
      ...{ name, subject, queue_group: QUEUE },
      ...{ num_requests: this.#requests, num_errors: this.#errors, last_error: this.#lastError },
      processing_time: Math.round(this.#tookMs * MS),
      average_processing_time: Math.round((this.#tookMs / Math.max(1, this.#requests)) * MS),
      data: { listening: this.isListening },
    };
  }

  listen(): void {
    if (this.#subscription !== undefined) return;
    const receive = (request: BusRequest): void => {
      const answering = this.#answer(request).finally(() => this.#underWay.delete(answering));
      this.#underWay.add(answering);
    };
    this.#subscription = this.bus.subscribe(this.subject, receive, { queue: QUEUE });
    this.watch.listening[this.name] = true;
    this.logger.info({ subject: this.subject }, `Requests on ${this.subject} are answered here.`);
  }

  /** New requests go to others. Resolves when those that came are being answered. */
  async leave(): Promise<void> {
    const subscription = this.#subscription;
    if (subscription === undefined) return;
    this.#subscription = undefined;
    this.watch.listening[this.name] = false;
    this.logger.info({ subject: this.subject }, `Requests on ${this.subject} go to other replicas.`);
    await subscription.drain();
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** Never rejects: whatever happens is the answer. */
  async #answer(request: BusRequest): Promise<void> {
    const startedMs = performance.now();
    let format = JSON_FORMAT;
    let status = 200;
    this.#requests++;
    try {
      if (request.respond === undefined) throw withoutReply();
      format = formatOf(request.header?.('Content-Type'));
      const answered = await this.#traced(request, () => this.spec.run(request.data, format));
      this.#respond(request, format, answered, {});
    } catch (thrown) {
      status = this.#refuse(request, format, thrown);
    } finally {
      const tookMs = performance.now() - startedMs;
      this.#tookMs += tookMs;
      this.watch.answered({ kind: this.name, status, seconds: tookMs / 1000 });
    }
  }

  #traced<T>(request: BusRequest, run: () => Promise<T>): Promise<T> {
    const { cluster, name } = this.spec;
    const describe = (): SpanSpec =>
      callSpan(cluster, {
        operation: name === 'read' ? 'query' : 'execute',
        kind: SpanKind.SERVER,
        parent: contextOf((header) => request.header?.(header)) ?? ROOT_CONTEXT,
      });
    return traced(describe, run);
  }

  /** Returns its status. */
  #refuse(request: BusRequest, format: MessageFormat, thrown: unknown): number {
    const { status, body, isDefect } = errorAnswer(thrown);
    const { message, code } = body.error;
    this.#errors++;
    this.#lastError = `${status}: ${message} [${code}]`;
    const fields = { subject: this.subject, code };
    if (isDefect) this.logger.error({ ...fields, err: thrown }, 'A request failed.');
    else this.logger.debug(fields, 'A request was refused.');
    try {
      this.#respond(request, format, body, {
        'Nats-Service-Error': message,
        'Nats-Service-Error-Code': String(status),
      });
    } catch (unsent) {
      this.logger.error({ ...fields, err: unsent }, 'An error could not be sent to its client.');
    }
    return status;
  }

  /** Throws MESSAGE_TOO_LARGE. Without a connection nothing is sent: the client asks again. */
  #respond(request: BusRequest, format: MessageFormat, answer: object, headers: BusHeaders): void {
    const data = format.encode(answer);
    try {
      request.respond?.(data, { 'Content-Type': format.contentType, ...headers });
    } catch (thrown) {
      throw toAntiphonError(thrown).code === 'MESSAGE_TOO_LARGE' ? tooLarge(data.length) : thrown;
    }
  }
}

function withoutReply(): HttpError {
  const message = 'The request has no subject for its answer, so nothing was done. Send it as a request.';
  return new HttpError('BAD_REQUEST', message);
}
