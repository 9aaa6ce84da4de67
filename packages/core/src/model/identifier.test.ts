import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import { assertClusterName, assertReplicaId } from './identifier.js';

describe('a replica id or cluster name', () => {
  it('is a letter or digit and up to 62 letters, digits, dashes and underscores', () => {
    for (const id of ['a', '0', 'eu-1', 'EU_west-2', 'x'.repeat(63), 'constructor']) {
      assertReplicaId(id);
      assertClusterName(id);
    }
  });

  it('is nothing else: it becomes a subject token and a file name', () => {
    const wrong = [
      '',
      '-a',
      '_a',
      'a.b',
      'a b',
      'a\n',
      'ü',
      '*',
      '>',
      '../x',
      'x'.repeat(64),
      undefined,
      5,
      null,
    ];
    for (const id of wrong) {
      expect(codeThrownBy(() => assertReplicaId(id as string))).toBe('BAD_OPTION');
      expect(codeThrownBy(() => assertClusterName(id as string))).toBe('BAD_OPTION');
    }
  });
});
