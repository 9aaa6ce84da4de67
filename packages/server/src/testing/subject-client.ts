import {
  connect,
  type ConnectionOptions,
  ErrorCode,
  headers,
  type NatsConnection,
  NatsError,
  RequestStrategy,
  type ServiceInfo,
  type ServiceStats,
} from 'nats';

export interface SubjectAnswer {
  readonly data: Uint8Array;
  readonly contentType: string;
  /** Of an error; empty otherwise. */
  readonly code: string;
  readonly message: string;
}

export interface JsonAnswer extends SubjectAnswer {
  readonly body: Record<string, unknown> & { readonly error?: Record<string, unknown> };
}

export interface AskOptions {
  readonly type?: string;
  readonly timeout?: number;
}

const TIMEOUT_MS = 5000;

/** It cannot know how many there are: it waits for a pause between two answers. */
const QUICKLY = { maxWait: 1000, strategy: RequestStrategy.JitterTimer, jitter: 200 } as const;

/** A program that knows NATS, and nothing of Antiphon. */
export class SubjectClient implements AsyncDisposable {
  private constructor(readonly nats: NatsConnection) {}

  static async connect(url: string | undefined, login: ConnectionOptions = {}): Promise<SubjectClient> {
    const patience = { maxReconnectAttempts: -1, reconnectTimeWait: 50 };
    return new SubjectClient(await connect({ servers: url ?? '', ...patience, ...login }));
  }

  async ask(
    subject: string,
    data: Uint8Array,
    { type, timeout = TIMEOUT_MS }: AskOptions = {},
  ): Promise<SubjectAnswer> {
    const given = headers();
    if (type !== undefined) given.set('content-type', type);
    const options = { timeout, ...(type !== undefined && { headers: given }) };
    const message = await this.nats.request(subject, data, options);
    const header = (name: string): string => message.headers?.get(name) ?? '';
    return {
      data: message.data,
      contentType: header('Content-Type'),
      code: header('Nats-Service-Error-Code'),
      message: header('Nats-Service-Error'),
    };
  }

  async json(subject: string, body: unknown, options: AskOptions = {}): Promise<JsonAnswer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const data = body instanceof Uint8Array ? body : Buffer.from(text);
    const answer = await this.ask(subject, data, options);
    return { ...answer, body: JSON.parse(Buffer.from(answer.data).toString()) as JsonAnswer['body'] };
  }

  /** In the order of their ids. */
  async services(name: string): Promise<readonly ServiceInfo[]> {
    const found = await allOf(this.nats.services.client(QUICKLY).info(name));
    return found.sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** The ids of those that listen on this endpoint. */
  async listening(name: string, endpoint: string): Promise<readonly string[]> {
    const services = await this.services(name);
    const listens = ({ endpoints }: ServiceInfo): boolean => endpoints.some((one) => one.name === endpoint);
    return services.filter(listens).map(({ id }) => id);
  }

  /** How many requests each has got on this endpoint, by id. */
  async requestsOf(name: string, endpoint: string): Promise<Readonly<Record<string, number>>> {
    const found = await allOf(this.nats.services.client(QUICKLY).stats(name));
    const count = ({ endpoints = [] }: ServiceStats): number =>
      endpoints.find((one) => one.name === endpoint)?.num_requests ?? 0;
    return Object.fromEntries(found.map((one) => [one.id, count(one)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nats.close();
  }
}

async function allOf<T>(answers: Promise<AsyncIterable<T>>): Promise<T[]> {
  const found: T[] = [];
  try {
    for await (const one of await answers) found.push(one);
  } catch (error) {
    if (!(error instanceof NatsError && error.code === ErrorCode.NoResponders)) throw error;
  }
  return found;
}
