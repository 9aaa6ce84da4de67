import { afterAll, beforeAll, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, Served } from './testing/served.js';

interface Operation {
  readonly operationId: string;
  readonly security?: readonly object[];
  readonly parameters: readonly { readonly name: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
}

interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

let served: Served;
let server: HttpServer;
let document: Described;

beforeAll(async () => {
  served = await Served.start();
  server = await served.server({ tokens: [{ name: 'a', role: 'read', sha256: '0'.repeat(64) }] });
  document = (await get(server, '/openapi.json')).body as unknown as Described;
});
afterAll(() => served[Symbol.asyncDispose]());

const operations = (): [string, Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method} ${path}`,
      operation,
    ]),
  );

it('describes every address that there is, and none besides', async () => {
  expect(document).toMatchObject({ openapi: '3.1.0', info: { version: served.replica().status().version } });
  const names = operations().map(([name]) => name);
  expect(names.sort()).toEqual([
    ...['get /livez', 'get /metrics', 'get /openapi.json', 'get /primary', 'get /read-only', 'get /readyz'],
    ...['get /replica', 'get /v1/changes', 'get /v1/cluster', 'get /v1/cluster/candidates'],
    ...['get /v1/cluster/conflicts', 'get /v1/cluster/epochs', 'get /v1/cluster/failover'],
    ...['get /v1/cluster/quarantine', 'get /v1/cluster/quarantined'],
    ...['get /v1/cluster/rescue', 'get /v1/cluster/rescues', 'get /v1/cluster/stream', 'get /v1/status'],
    ...[
      'post /v1/admin/drain',
      'post /v1/admin/failover',
      'post /v1/admin/quarantine/discard',
      'post /v1/admin/quarantine/retry',
    ],
    ...['post /v1/admin/rescue/dismiss', 'post /v1/admin/rescue/reapply', 'post /v1/admin/resume'],
    ...['post /v1/admin/switchover', 'post /v1/admin/verify', 'post /v1/cluster/query'],
    ...['post /v1/execute', 'post /v1/query'],
  ]);
  for (const [name, operation] of operations()) {
    const [method = '', path = ''] = name.split(' ');
    const { status } = await fetch(server.url + path, { method: method.toUpperCase() });
    expect([200, 401, 503], name).toContain(status);
    // What needs a token says so, and refuses whoever has none.
    expect({ name, needs: 'security' in operation }).toEqual({ name, needs: status === 401 });
  }
});

it('names each operation once, and its fields', () => {
  const ids = operations().map(([, { operationId }]) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[a-z][A-Za-z]+$/);
  const query = document.paths['/v1/query']?.['post']?.requestBody?.content['application/json']?.schema;
  expect(query).toMatchObject({ type: 'object', required: ['sql'], additionalProperties: false });
  expect(query).toHaveProperty('properties.maxLagMs.maximum', 300_000);
  const parameters = document.paths['/v1/changes']?.['get']?.parameters ?? [];
  expect(parameters.map(({ name }) => name)).toEqual(['tables', 'from', 'Last-Event-ID']);
});
