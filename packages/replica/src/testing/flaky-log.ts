import { AntiphonError, type AppendRequest, type AppendResult, type Log } from '@antiphon/core';
import { changed } from './changed.js';

export interface Flakiness {
  /** Shares of appends: lost without an answer; stored without an answer; refused. */
  lost: number;
  silent: number;
  refused: number;
}

/**
 * A log that loses messages and answers as a cluster of servers does when its leader changes: later
 * ones may survive.
 */
export function flakyLog(log: Log, flakiness: Flakiness, random: () => number): Log {
  const unknown: AppendResult = {
    type: 'unknown',
    error: new AntiphonError('LOG_UNAVAILABLE', 'no answer (made up)'),
  };
  const refused: AppendResult = {
    type: 'refused',
    error: new AntiphonError('LOG_UNAVAILABLE', 'no leader (made up)'),
  };
  const append = (request: AppendRequest, settled: (result: AppendResult) => void): void => {
    const chance = random();
    const { lost, silent, refused: refusals } = flakiness;
    if (chance < lost) return void setTimeout(() => settled(unknown), 3);
    if (chance < lost + refusals) return void setTimeout(() => settled(refused), 1);
    log.append(
      request,
      chance < lost + refusals + silent ? () => setTimeout(() => settled(unknown), 3) : settled,
    );
  };
  return changed(log, { append });
}
