import { toAntiphonError, type AntiphonError, type Candidacy } from '@antiphon/core';
import type { AskedCluster } from './member-answers.js';

/** A member that did not answer has no candidacy. */
export interface CandidacyAnswer {
  readonly id: string;
  readonly candidacy?: Candidacy;
  readonly error?: AntiphonError;
}

const ASK_TIMEOUT_MS = 2000;

/**
 * What every member is as the next primary, in the order of their ids. Throws LOG_UNAVAILABLE,
 * NO_ACTOR (no such cluster).
 */
export async function askCandidacies(client: AskedCluster): Promise<readonly CandidacyAnswer[]> {
  const members = await client.members({ fresh: true });
  const ids = members.map(({ id }) => id).sort();
  return Promise.all(
    ids.map(async (id): Promise<CandidacyAnswer> => {
      try {
        const asked = client.replica(id).ask('candidacy', undefined, { timeoutMs: ASK_TIMEOUT_MS });
        return { id, candidacy: await asked };
      } catch (error) {
        return { id, error: toAntiphonError(error) };
      }
    }),
  );
}
