import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a script without types
import * as script from '../../scripts/errors-page.mjs';
import { AntiphonError, toAntiphonError } from './antiphon-error.js';
import { ERROR_CODES } from './codes.js';

const { renderErrorsPage } = script as { renderErrorsPage: (codes: typeof ERROR_CODES) => string };

/** A program's name is not capitalized at the beginning either. */
const SENTENCE = /^([A-Z`]|nats-server ).*\.$/;

describe('docs/errors.md', () => {
  it('is up to date (npm run docs:errors --workspace packages/core)', () => {
    const page = readFileSync(new URL('../../../../docs/errors.md', import.meta.url), 'utf8');
    expect(page).toBe(renderErrorsPage(ERROR_CODES));
  });

  it('says for every code in whole sentences what it means and what to do', () => {
    for (const [code, { means, do: what }] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^[A-Z][A-Z_]+$/);
      expect(means).toMatch(SENTENCE);
      expect(what).toMatch(SENTENCE);
      expect(means + what).not.toMatch(/[|\n]/);
    }
  });
});

describe('AntiphonError', () => {
  it('takes from its code whether it is retriable, unless told otherwise', () => {
    expect(new AntiphonError('TIMEOUT', 'no answer').retriable).toBe(true);
    expect(new AntiphonError('TIMEOUT', 'no answer', { retriable: false }).retriable).toBe(false);
    expect(new AntiphonError('BAD_SQL', 'no').retriable).toBe(false);
  });

  it('wraps whatever was thrown, and itself not', () => {
    const error = new AntiphonError('CLOSED', 'closed');
    expect(toAntiphonError(error)).toBe(error);
    const cause = new TypeError('x is not a function');
    expect(toAntiphonError(cause)).toMatchObject({ code: 'INTERNAL', message: 'x is not a function', cause });
    expect(toAntiphonError('text', 'STORE_FAILED')).toMatchObject({ code: 'STORE_FAILED', message: 'text' });
  });
});
