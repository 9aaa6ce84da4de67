import type { GroupOutcome, TransactionId } from '@antiphon/core';
import type { DatabaseTransaction, Reading } from './database-transaction.js';
import { OUTCOMES, sequenceKey } from './spaces.js';

/** None is ever forgotten, which is more than is asked for: these databases do not live long. */
export function keepOutcome(transaction: DatabaseTransaction, outcome: GroupOutcome): void {
  transaction.put(OUTCOMES, sequenceKey(outcome.seq), outcome);
}

export function outcomeOf(reading: Reading, { origin, counter }: TransactionId): GroupOutcome | undefined {
  const mine = inLogOrder(reading).filter((outcome) => outcome.origin === origin);
  return mine.findLast(({ firstCounter, lastCounter }) => firstCounter <= counter && counter <= lastCounter);
}

export function outcomesFrom(reading: Reading, fromSeq: number, limit: number): readonly GroupOutcome[] {
  return inLogOrder(reading)
    .filter(({ seq }) => seq >= fromSeq)
    .slice(0, limit);
}

function inLogOrder(reading: Reading): readonly GroupOutcome[] {
  return [...reading.entries(OUTCOMES)].map(([, outcome]) => outcome).sort((a, b) => a.seq - b.seq);
}
