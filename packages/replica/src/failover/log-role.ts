import { newestEpoch } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/** Who the primary is from now on, and why, for whoever looks into the log of this process. */
export function logRole({ authority, id, logger, store }: Scope): void {
  const { mayWrite, primary = '', epoch } = authority.current();
  const { seq, began } = newestEpoch(store.state());
  const since = `from entry ${seq} of the log on, epoch ${epoch} (${began?.why ?? 'unknown'})`;
  const fields = { epoch, primary, seq, why: began?.why };
  if (mayWrite) logger.info(fields, `${id} is the primary ${since}.`);
  else if (primary !== id) logger.info(fields, `${id} follows ${primary}, the primary ${since}.`);
}

/** What a rewind has undone. */
export function logRescued(
  { logger }: Scope,
  { transactions, rows }: { readonly transactions: number; readonly rows: number },
): void {
  if (transactions === 0) return;
  const what = transactions === 1 ? '1 transaction' : `${transactions} transactions`;
  logger.warn(
    { transactions, rows },
    `Another replica is the primary now, and ${what} of this one had not come into the log. The rows are as they ` +
      'were before, and what was changed is kept. See `antiphon rescue list`.',
  );
}
