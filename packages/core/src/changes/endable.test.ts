import { once } from 'node:events';
import { expect, it } from 'vitest';
import { endable } from './endable.js';

interface Seen {
  readonly ended: string[];
}

/** Yields 1, and waits then. */
const waiting = (seen: Seen): AsyncGenerator<number, void, undefined> =>
  endable(async function* (ending) {
    try {
      yield 1;
      await once(ending, 'abort');
      throw ending.reason;
    } finally {
      seen.ended.push('released');
    }
  });

it('ends at once, also while somebody waits for its next value', async () => {
  const seen = { ended: [] };
  const stream = waiting(seen);
  expect(await stream.next()).toEqual({ done: false, value: 1 });
  const next = stream.next();
  expect(await stream.return()).toEqual({ done: true, value: undefined });
  expect(await next).toEqual({ done: true, value: undefined });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
  expect(seen.ended).toEqual(['released']);
});

it('ends before it has begun, and when it is left', async () => {
  const seen = { ended: [] };
  expect(await waiting(seen).return()).toEqual({ done: true, value: undefined });
  for await (const value of waiting(seen)) if (value === 1) break;
  expect(seen.ended).toEqual(['released']);
  {
    await using stream = waiting(seen);
    await stream.next();
  }
  expect(seen.ended).toHaveLength(2);
});

it('passes on what goes wrong, and what is thrown into it', async () => {
  const failing = endable<number>(async function* () {
    yield 1;
    throw new Error('broken');
  });
  await failing.next();
  await expect(failing.next()).rejects.toThrow('broken');
  const seen = { ended: [] };
  const stream = waiting(seen);
  await stream.next();
  await expect(stream.throw(new Error('from outside'))).rejects.toThrow('from outside');
  expect(seen.ended).toEqual(['released']);
});
