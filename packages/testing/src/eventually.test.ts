import { describe, expect, it } from 'vitest';
import { eventually } from './eventually.js';

describe('eventually', () => {
  it('returns what the condition gives, as soon as it gives something', async () => {
    let looks = 0;
    expect(await eventually('the third look', () => (++looks === 3 ? 'found' : undefined))).toBe('found');
    expect(looks).toBe(3);
    expect(await eventually('at once', () => Promise.resolve(1), 0)).toBe(1);
  });

  it('says what was waited for, for how long, and what was last seen', async () => {
    let looks = 0;
    const never = eventually('b has all', () => (looks++, false), {
      timeoutMs: 30,
      seen: () => ({ looks, big: 5n }),
    });
    const error = (await never.catch((thrown: unknown) => thrown)) as Error;
    expect(error.message).toBe(`Waited 30 ms in vain: b has all. Last seen: {"looks":${looks},"big":"5n"}.`);
    await expect(eventually('nothing', () => undefined, 1)).rejects.toThrow(
      'Waited 1 ms in vain: nothing. Last seen: undefined.',
    );
    await expect(
      eventually('a lot', () => '', { timeoutMs: 1, seen: () => 'x'.repeat(5000) }),
    ).rejects.toThrow(/Last seen: x{2000}…\.$/);
  });

  it('ends with the error of the condition', async () => {
    const failing = eventually('something', () => Promise.reject(new TypeError('broken')));
    await expect(failing).rejects.toThrow(new TypeError('broken'));
  });
});
