import { type Candidacy, rankCandidates } from '@antiphon/core';
import type { CandidacyAnswer } from './candidacies.js';

/** One that did not answer has nothing but its id. */
export interface RankedCandidate extends Partial<Candidacy> {
  readonly id: string;
  /** From 1; null: it is no candidate. */
  readonly place: number | null;
  readonly reason: string;
}

/** As the one says that has read the newest epoch. */
export function primaryIn(answers: readonly CandidacyAnswer[]): string | undefined {
  const read = answers.flatMap(({ candidacy }) => candidacy ?? []);
  return read.sort((a, b) => b.epoch - a.epoch || b.seq - a.seq)[0]?.primary;
}

export function hasAnswered(answers: readonly CandidacyAnswer[], id: string | undefined): boolean {
  return answers.some((answer) => answer.id === id && answer.candidacy !== undefined);
}

/** Of the primary; only those that follow it hear that. */
export function writingMsIn(
  answers: readonly CandidacyAnswer[],
  primary: string | undefined,
): number | undefined {
  const said = answers.map(({ candidacy }) => candidacy);
  return said.find((one) => one?.primary === primary && one?.primaryWritingMs !== undefined)
    ?.primaryWritingMs;
}

/** The primary itself is what the others would take over from: it has no place. */
export function rankedCandidates(
  answers: readonly CandidacyAnswer[],
  primary: string | undefined,
  sync: boolean,
): readonly RankedCandidate[] {
  const others = answers.flatMap(({ id, candidacy }) =>
    candidacy === undefined || id === primary ? [] : [candidacy],
  );
  const ranked = rankCandidates(others, { sync, nobodyForMs: 0 }).map(
    ({ candidate, place, reason }): RankedCandidate => ({ ...candidate, place: place ?? null, reason }),
  );
  const leading = answers.flatMap(({ id, candidacy }): RankedCandidate[] =>
    candidacy === undefined || id !== primary
      ? []
      : [{ ...candidacy, place: null, reason: 'it is the primary' }],
  );
  const silent = answers.flatMap(({ id, error }): RankedCandidate[] =>
    error === undefined ? [] : [{ id, place: null, reason: `it does not answer (${error.code})` }],
  );
  return [...ranked, ...leading, ...silent];
}
