import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer, ServerRole, ServerToken } from './index.js';
import { get, Served } from './testing/served.js';

interface Address {
  /** `GET /v1/status`. */
  readonly name: string;
  readonly role: string | undefined;
}

const RANKS: readonly ServerRole[] = ['read', 'write', 'admin'];
const TOKENS: readonly ServerToken[] = RANKS.map((role) => ({
  ...{ name: role, role, sha256: createHash('sha256').update(`token-of-${role}`).digest('hex') },
}));
const SENT: Readonly<Record<string, string | undefined>> = {
  'no token': undefined,
  'an unknown token': 'Bearer nonsense',
  ...Object.fromEntries(RANKS.map((role) => [role, `Bearer token-of-${role}`])),
};

/** The table of docs/http.md: `GET /livez`, `/readyz` are two addresses with one method. */
function documented(): readonly Address[] {
  const page = readFileSync(new URL('../../../docs/http.md', import.meta.url), 'utf8');
  const [table = ''] = /^\| address +\| role [^]*?\n\n/m.exec(page) ?? [];
  return table.split('\n').flatMap((line) => {
    const [, addresses = '', role = ''] = line.split('|').map((cell) => cell.trim());
    let method = '';
    return [...addresses.matchAll(/`(?:([A-Z]+) )?(\/[^`]*)`/g)].map(([, named, path = '']) => {
      method = named ?? method;
      return { name: `${method} ${path}`, role: /`(\w+)`/.exec(role)?.[1] };
    });
  });
}

const ADDRESSES = documented();
let served: Served;
let server: HttpServer;

beforeAll(async () => {
  served = await Served.start();
  server = await served.server({ tokens: TOKENS });
});
afterAll(() => served[Symbol.asyncDispose]());

/** Asks for nothing that would change anything: no body is like this. */
async function statusOf({ name }: Address, authorization: string | undefined): Promise<number> {
  const [method = '', path = ''] = name.split(' ');
  const headers = { ...(authorization && { authorization }), 'content-type': 'application/json' };
  const body = method === 'POST' ? { body: '{"nonsense":1}' } : {};
  const response = await fetch(server.url + path, { method, headers, ...body });
  await response.body?.cancel();
  return response.status;
}

it('docs/http.md lists every address, with the role that it needs', async () => {
  const { paths } = (await get(server, '/openapi.json')).body as unknown as {
    readonly paths: Record<string, Record<string, { readonly description?: string }>>;
  };
  const served = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { description }]): Address => {
      const role = /role `(\w+)`/.exec(description ?? '')?.[1];
      return { name: `${method.toUpperCase()} ${path}`, role };
    }),
  );
  const sorted = (list: readonly Address[]): Address[] =>
    [...list].sort((one, other) => one.name.localeCompare(other.name));
  expect(sorted(ADDRESSES)).toEqual(sorted(served));
});

describe.each(ADDRESSES)('$name ($role)', (address) => {
  it.each(Object.entries(SENT))('with %s', async (bearer, authorization) => {
    const status = await statusOf(address, authorization);
    const rank = RANKS.findIndex((role) => role === bearer);
    const needed = RANKS.findIndex((role) => role === address.role);
    const refusal = rank >= needed ? undefined : rank < 0 ? 401 : 403;
    if (refusal === undefined) expect([200, 400, 503]).toContain(status);
    else expect(status).toBe(refusal);
  });
});
