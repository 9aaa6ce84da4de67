import type { CandidacyAnswer } from '@antiphon/client/internal';
import { AntiphonError, type Candidacy, type ClusterDocument } from '@antiphon/core';
import { expect, it } from 'vitest';
import { failoverChecks } from './failover-checks.js';

const CANDIDACY: Candidacy = {
  ...{ id: 'a', instance: 'i', epoch: 1, primary: 'a', seq: 9, lastSeq: 9, inSync: false },
  ...{ eligible: true, priority: 100, lagMs: 0, lastCounter: 3 },
};

function answer(id: string, change: Partial<Candidacy> = {}): CandidacyAnswer {
  return { id, candidacy: { ...CANDIDACY, id, ...change } };
}

function checked(mode: string | undefined, ...answers: readonly CandidacyAnswer[]): readonly string[] {
  const document = { update: { mode: 'async' }, ...(mode !== undefined && { failover: { mode } }) };
  const checks = failoverChecks(answers, document as unknown as ClusterDocument);
  return checks.map(({ grade, message }) => `${grade}: ${message}`);
}

it('says who would take over, and that nobody would', () => {
  const [a, b] = [answer('a'), answer('b')];
  const holding = answer('c', { eligible: false, why: 'it holds' });
  expect(checked('automatic', a, holding, b)).toEqual(['ok: failover: b would take over from a']);
  expect(checked('automatic', a, holding)).toEqual([
    'warn: No replica would take over by itself if a failed now.',
  ]);
  const away = { id: 'b', error: new AntiphonError('NO_ACTOR', 'away') };
  expect(checked('automatic', a, away)).toHaveLength(1);
  expect(checked('automatic', away), 'others say so').toEqual([]);
  expect(checked('manual', a, holding)).toEqual([]);
  expect(checked(undefined, a, holding)).toEqual([]);
});
