import { AntiphonError, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { LocalWrite } from './local-write.js';

const clock = systemClock();

/** A question that is answered when the test says so. */
function question(): { readonly ask: () => Promise<string>; answer: (value: string) => void } {
  let answer: (value: string) => void = () => undefined;
  const asked = new Promise<string>((resolve) => (answer = resolve));
  return { ask: () => asked, answer: (value) => answer(value) };
}

describe('an asynchronous write', () => {
  it.each([
    ['ABORTED', 'signal'],
    ['TIMEOUT', 'time'],
    ['CLOSED', 'close'],
  ] as const)('rejects with %s before it runs, and never runs then', async (code, by) => {
    const giveUp = new AbortController();
    const limit = { timeoutMs: by === 'time' ? 5 : 10_000, signal: giveUp.signal };
    let runs = 0;
    const write = new LocalWrite(() => runs++, limit, clock);
    const attempt = write.attempt(question().ask);
    if (by === 'signal') giveUp.abort();
    if (by === 'close') write.giveUp(new AntiphonError('CLOSED', 'replica a is closing'));
    await expect(attempt).rejects.toMatchObject({ name: 'AntiphonError', code });
    expect(() => write.run(undefined)).toThrow(AntiphonError);
    expect(runs).toBe(0);
    write.end();
  });

  it('tells what the database decided once it runs, however late', async () => {
    const giveUp = new AbortController();
    const write = new LocalWrite(() => undefined, { timeoutMs: 5, signal: giveUp.signal }, clock);
    const asked = question();
    const attempt = write.attempt(asked.ask);
    write.run(undefined);
    giveUp.abort();
    await new Promise((resolve) => setTimeout(resolve, 20));
    asked.answer('committed');
    await expect(attempt).resolves.toBe('committed');
    write.end();
  });

  it('can be given up between two attempts', async () => {
    const giveUp = new AbortController();
    const write = new LocalWrite(() => undefined, { timeoutMs: 10_000, signal: giveUp.signal }, clock);
    write.run(undefined);
    const pause = write.pause(10_000);
    giveUp.abort();
    await expect(pause).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(write.attempt(question().ask)).rejects.toMatchObject({ code: 'ABORTED' });
    write.end();
  });
});
