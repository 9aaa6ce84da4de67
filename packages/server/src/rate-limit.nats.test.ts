import { createHash } from 'node:crypto';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { HttpServer, ServerToken } from './index.js';
import { get, query, Served } from './testing/served.js';

const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
const TOKENS: readonly ServerToken[] = ['a', 'b'].map((name) => ({
  ...{ name, role: 'read', sha256: sha256(name) },
}));

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served[Symbol.asyncDispose]());

/** How many of so many requests are refused for being too many. */
async function refused(server: HttpServer, path: string, count: number, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answers = await Promise.all(Array.from({ length: count }, () => get(server, path, headers)));
  return answers.filter(({ status }) => status === 429).length;
}

it('a client that asks too often is told to come again, and the others are not', async () => {
  await using server = await served.server({ tokens: TOKENS, limits: { requestsPerSecond: 2 } });
  expect(await refused(server, '/v1/status', 2, 'a')).toBe(0);
  expect(await refused(server, '/v1/status', 50, 'a')).toBeGreaterThan(10);
  expect(await refused(server, '/v1/status', 2, 'b')).toBe(0);
  // Whoever has no token, or tries one after the other, is known by its address.
  const guesses = Array.from({ length: 50 }, (_, guess) => refused(server, '/nothing', 1, `guess ${guess}`));
  expect((await Promise.all(guesses)).filter((count) => count === 1).length).toBeGreaterThan(10);
  expect(await refused(server, '/readyz', 50)).toBe(0);
  await eventually('it may ask again', async () => (await refused(server, '/v1/status', 1, 'a')) === 0);
});

it('the answer says when to ask again', async () => {
  await using server = await served.server({ limits: { requestsPerSecond: 1 } });
  const answers = await Promise.all(Array.from({ length: 20 }, () => query(server, 'SELECT 1')));
  const told = answers.find(({ status }) => status === 429);
  expect(told?.body).toMatchObject({ error: { code: 'OVERLOADED', retriable: true } });
  expect(told?.headers.get('retry-after')).toBe('1');
  expect(told?.body.error?.['message']).toMatch(/more than 1 times within a second/);
});
