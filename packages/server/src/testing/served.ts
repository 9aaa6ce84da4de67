import { TestCluster, type TestReplica, type TestReplicaOptions } from '@antiphon/test-cluster';
import {
  createServer,
  type HttpServer,
  serveSubjects,
  type ServedSubjects,
  type ServerOptions,
  type SubjectsOptions,
} from '../index.js';

export const SCHEMA =
  'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, picture BLOB);' +
  'CREATE TABLE other (id INTEGER PRIMARY KEY, note TEXT)';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown> & { readonly error?: Record<string, unknown> };
}

/** A real cluster, with a server beside each replica that a test asks for. */
export class Served implements AsyncDisposable {
  readonly #servers: (HttpServer | ServedSubjects)[] = [];

  private constructor(readonly cluster: TestCluster) {}

  static async start(replicas = 1, options: TestReplicaOptions = {}): Promise<Served> {
    return new Served(await TestCluster.start({ schema: SCHEMA, replicas, options }));
  }

  replica(id = 'r1'): TestReplica {
    return this.cluster.replica(id);
  }

  async server(options: ServerOptions = {}, id = 'r1'): Promise<HttpServer> {
    const server = await createServer(this.replica(id), { listen: '127.0.0.1:0', ...options });
    this.#servers.push(server);
    return server;
  }

  subjects(id: string, options: SubjectsOptions = {}): ServedSubjects {
    const served = serveSubjects(this.replica(id), options);
    this.#servers.push(served);
    return served;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.close();
    await this.cluster.close();
  }
}

export async function get(
  server: HttpServer,
  path: string,
  headers: Record<string, string> = {},
): Promise<Reply> {
  return reply(await fetch(server.url + path, { headers }));
}

export async function post(
  server: HttpServer,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const all = { 'content-type': 'application/json', ...headers };
  return reply(await fetch(server.url + path, { method: 'POST', headers: all, body: text }));
}

async function reply(response: Response): Promise<Reply> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  const body = (isJson ? JSON.parse(text) : { text }) as Reply['body'];
  return { status: response.status, headers: response.headers, body };
}

/** One statement, over HTTP. */
export function write(server: HttpServer, sql: string, params: unknown = []): Promise<Reply> {
  return post(server, '/v1/execute', { statements: [{ sql, params }] });
}

export function query(server: HttpServer, sql: string, options: object = {}): Promise<Reply> {
  return post(server, '/v1/query', { sql, ...options });
}
