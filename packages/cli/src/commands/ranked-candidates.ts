import type { CandidacyAnswer } from '@antiphon/client/internal';
import { rankCandidates } from '@antiphon/core';
import type { ShownCandidate } from './candidates-text.js';

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
export function shownOf(
  answers: readonly CandidacyAnswer[],
  primary: string | undefined,
  sync: boolean,
): readonly ShownCandidate[] {
  const others = answers.flatMap(({ id, candidacy }) =>
    candidacy === undefined || id === primary ? [] : [candidacy],
  );
  const ranked = rankCandidates(others, { sync, nobodyForMs: 0 }).map(
    ({ candidate, place, reason }): ShownCandidate => ({ ...candidate, place: place ?? null, reason }),
  );
  const leading = answers.flatMap(({ id, candidacy }): ShownCandidate[] =>
    candidacy === undefined || id !== primary
      ? []
      : [{ ...candidacy, place: null, reason: 'it is the primary' }],
  );
  const silent = answers.flatMap(({ id, error }): ShownCandidate[] =>
    error === undefined ? [] : [{ id, place: null, reason: `it does not answer (${error.code})` }],
  );
  return [...ranked, ...leading, ...silent];
}
