import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { replicaId } from '../../test/arbitrary-batch.js';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { formatOutcomeId, parseOutcomeId } from './outcome-id.js';

describe('the id of an outcome', () => {
  it('I8: comes back as it was', () => {
    const token = fc.option(fc.stringMatching(/^[A-Za-z0-9]{1,40}$/), { nil: undefined });
    fc.assert(
      fc.property(
        replicaId,
        fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        token,
        (origin, counter, mark) => {
          const id = { origin, counter, ...(mark === undefined ? {} : { token: mark }) };
          expect(parseOutcomeId(formatOutcomeId(id, mark))).toStrictEqual(id);
        },
      ),
    );
  });

  it('is short', () => {
    expect(formatOutcomeId({ origin: 'eu-1', counter: 42 })).toBe('eu-1:42');
    expect(formatOutcomeId({ origin: 'eu-1', counter: 42 }, 'token')).toBe('eu-1:42~token');
  });

  it('I15: is refused when it is anything else', () => {
    const wrong = [
      ...[
        '',
        'eu-1',
        'eu-1:',
        ':1',
        'eu-1:0',
        'eu-1:01',
        'eu-1:-1',
        'eu-1:1.5',
        'eu-1:1e3',
        'eu-1:9007199254740992',
      ],
      ...[
        '_x:1',
        'a.b:1',
        'eu-1:1 ',
        ' eu-1:1',
        'eu-1:1\n',
        'eu-1:1~',
        'eu-1:1~a-b',
        'eu-1:1~a\n',
        'eu-1:1~a~b',
      ],
      `eu-1:1~${'x'.repeat(41)}`,
      `${'x'.repeat(64)}:1`,
    ];
    for (const text of wrong)
      expect([text, codeThrownBy(() => parseOutcomeId(text))]).toEqual([text, 'BAD_OPTION']);
    for (const text of [undefined, null, 42, {}])
      expect(codeThrownBy(() => parseOutcomeId(text as string))).toBe('BAD_OPTION');
    expect(() => parseOutcomeId('nonsense')).toThrow('like eu-1:42');
  });
});
