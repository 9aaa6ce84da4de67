import {
  AntiphonError,
  ConflictError,
  ERROR_CODES,
  type ErrorCode,
  UnknownOutcomeError,
} from '@antiphon/replica';
import { describe, expect, it } from 'vitest';
import { errorAnswer, HttpError, STATUS_OF } from './http-error.js';

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
const STATUSES = [400, 404, 409, 413, 422, 429, 500, 503, 504];

describe('errors', () => {
  it.each(CODES)('%s has a status, and comes out whole', (code) => {
    expect(STATUSES).toContain(STATUS_OF[code]);
    const error = new AntiphonError(code, 'It failed. Do this.', { context: { cluster: 'shop', key: [5n] } });
    const { status, body } = errorAnswer(error);
    expect(status).toBe(STATUS_OF[code]);
    expect(JSON.parse(JSON.stringify(body))).toEqual({
      error: {
        ...{ code, message: 'It failed. Do this.', retriable: ERROR_CODES[code].retriable },
        context: { cluster: 'shop', key: [5] },
      },
    });
  });

  it('have a status for every code, and for nothing else', () => {
    expect(Object.keys(STATUS_OF).sort()).toEqual([...CODES].sort());
  });

  it.each(CODES)(
    '%s: who may call again gets no 4xx but 409 and 429, and nobody else a `Retry-After`',
    (code) => {
      const { status, headers } = errorAnswer(new AntiphonError(code, 'x'));
      if (ERROR_CODES[code].retriable) expect([409, 429, 503, 504]).toContain(status);
      else expect(headers).toEqual({});
      if (status === 429) expect(headers).toEqual({ 'retry-after': '1' });
    },
  );

  it('say which write is unclear, and which row was in conflict', () => {
    const unclear = errorAnswer(new UnknownOutcomeError('Nobody knows.', 'r1:7'));
    expect(unclear).toMatchObject({ status: 504, body: { error: { context: { id: 'r1:7' } } } });
    const conflict = errorAnswer(new ConflictError('Too late.', { table: 'items', key: [2n ** 60n] }));
    expect(conflict.body.error.context).toMatchObject({
      table: 'items',
      key: [{ integer: String(2n ** 60n) }],
    });
  });

  it('that are no errors of Antiphon say nothing of what is inside', () => {
    const { status, body, isDefect } = errorAnswer(new Error('password=hunter2'));
    expect({ status, isDefect }).toEqual({ status: 500, isDefect: true });
    expect(JSON.stringify(body)).not.toContain('hunter2');
  });

  it('of HTTP have their own codes', () => {
    const { status, headers, body } = errorAnswer(new HttpError('UNAUTHENTICATED', 'Who?', { a: 'b' }));
    expect({ status, headers, code: body.error.code }).toEqual({
      status: 401,
      headers: { a: 'b' },
      code: 'UNAUTHENTICATED',
    });
  });
});
