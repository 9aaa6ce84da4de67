import { describe, expect, it } from 'vitest';
import { AntiphonError } from './antiphon-error.js';
import { ConflictError, UnknownOutcomeError } from './write-errors.js';

describe('the errors of a synchronous write', () => {
  it('I8: a conflict is rejected, may be tried again, and names the winner', () => {
    const winner = { origin: 'eu-2', counter: 9 };
    const error = new ConflictError(
      'lost',
      { table: 'orders', key: [1n], winner },
      { context: { cluster: 'shop' } },
    );
    expect(error).toBeInstanceOf(AntiphonError);
    expect(error).toMatchObject({
      name: 'ConflictError',
      code: 'CONFLICT',
      outcome: 'rejected',
      retriable: true,
    });
    expect(error.details).toEqual({ table: 'orders', key: [1n], winner });
    expect(error.context).toEqual({ cluster: 'shop', table: 'orders', key: [1n], winner });
  });

  it('I8: an unknown outcome is not retriable, and says by which id to ask', () => {
    const cause = new AntiphonError('LOG_UNAVAILABLE', 'no answer');
    const error = new UnknownOutcomeError('nobody knows', 'eu-1:42~x7Kq', {
      cause,
      context: { replica: 'eu-1' },
    });
    expect(error).toBeInstanceOf(AntiphonError);
    expect(error).toMatchObject({ name: 'UnknownOutcomeError', code: 'OUTCOME_UNKNOWN', outcome: 'unknown' });
    expect([error.retriable, error.id, error.cause]).toEqual([false, 'eu-1:42~x7Kq', cause]);
    expect(error.context).toEqual({ replica: 'eu-1', id: 'eu-1:42~x7Kq' });
  });
});
