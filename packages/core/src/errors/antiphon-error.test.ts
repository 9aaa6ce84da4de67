import { expect, it } from 'vitest';
import { abortReason, AntiphonError, withAbortReason } from './antiphon-error.js';

const aborted = new AntiphonError('ABORTED', 'the caller gave up');
const reason = new Error('the customer left');

it('the reason that a caller gave takes the place of ABORTED, and of nothing else', () => {
  const given = AbortSignal.abort(reason);
  expect(abortReason(aborted, given)).toBe(reason);
  expect(abortReason(aborted, AbortSignal.abort('a text'))).toBe('a text');
  const timedOut = new AntiphonError('TIMEOUT', 'too late');
  for (const other of [timedOut, reason, undefined]) expect(abortReason(other, given)).toBe(other);
  for (const signal of [undefined, new AbortController().signal, AbortSignal.abort()])
    expect(abortReason(aborted, signal)).toBe(aborted);
});

it('a promise rejects with it, whatever the options are', async () => {
  const fails = (): Promise<never> => Promise.reject(aborted);
  await expect(withAbortReason(fails(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  for (const options of [undefined, null, {}, 5 as never])
    await expect(withAbortReason(fails(), options)).rejects.toBe(aborted);
  await expect(withAbortReason(Promise.resolve(1), { signal: AbortSignal.abort(reason) })).resolves.toBe(1);
});
