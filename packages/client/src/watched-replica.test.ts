import { AntiphonError } from '@antiphon/core';
import { expect, it } from 'vitest';
import type { ClusterClient } from './cluster-client.js';
import { isReplaced, lookAt } from './watched-replica.js';

/** What each replica answers, one question after the other; the last answer stays. */
function clientOf(answers: Readonly<Record<string, readonly unknown[]>>): ClusterClient {
  const asked: Record<string, number> = {};
  const ask = (id: string): Promise<unknown> => {
    const list = answers[id] ?? [];
    const answer = list[Math.min((asked[id] = (asked[id] ?? -1) + 1), list.length - 1)];
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const members = Object.keys(answers).map((id) => ({ id }));
  return {
    members: () => Promise.resolve(members),
    replica: (id: string) => ({ ask: () => ask(id) }),
  } as unknown as ClusterClient;
}

const silent = new AntiphonError('TIMEOUT', 'No answer.');
const nobody = new AntiphonError('NO_ACTOR', 'Nobody listens.');
const epochOf = (number: number, primary: string): unknown => ({ epoch: { number, primary } });

it('a silent replica is replaced when another one is the primary, and not when it was elected itself', async () => {
  const answers = { a: [silent], b: [silent], c: [epochOf(2, 'b')] };
  expect(await isReplaced(clientOf(answers), { id: 'a' }, 50)).toBe(true);
  expect(await isReplaced(clientOf(answers), { id: 'b' }, 50)).toBe(false);
  expect(await isReplaced(clientOf({ b: [silent] }), { id: 'b' }, 50), 'nobody tells').toBe(false);
});

it('one where nobody listens is gone when that lasts: after a restart of NATS it is soon back', async () => {
  const look = (...answers: readonly unknown[]): Promise<string> =>
    lookAt(clientOf({ a: answers }), { id: 'a', instance: 'i' }, 50);
  expect(await look(nobody, nobody)).toBe('gone');
  expect(await look(nobody, { instance: 'i' })).toBe('there');
  expect(await look({ instance: 'another' })).toBe('gone');
  expect(await look(silent)).toBe('silent');
});
