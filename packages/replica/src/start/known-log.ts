import { AntiphonError, type ClusterDocument } from '@antiphon/core';
import { retrying, type Deadline } from '../wait/deadline.js';
import { assertReadable, assertSameLog } from '../log/log-check.js';
import type { Settings } from '../config/options.js';
import { OwnEntries } from '../log/own-entries.js';

/**
 * I14: is the log the one that this database has replicated with? By its generation and length, by
 * the entry at the position, and by what it holds of this replica. Changes nothing. Throws
 * LOG_UNAVAILABLE, TIMEOUT; LOG_REPLACED is what it returns.
 */
export async function findReplacedLog(
  settings: Settings,
  { generation }: ClusterDocument,
  deadline: Deadline,
): Promise<AntiphonError | undefined> {
  const { log, store, clock } = settings;
  const { position } = store.state();
  if (position.entry !== undefined) log.note(position.entry);
  try {
    const identity = await retrying(clock, deadline, () => log.identity(deadline.signal));
    assertSameLog(identity, generation, position.seq);
    assertReadable(identity, position.seq);
    await retrying(clock, deadline, () => log.verify(deadline.signal));
    const own = new OwnEntries(settings);
    await retrying(clock, deadline, () => own.check(deadline));
    return undefined;
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'LOG_REPLACED') return error;
    throw error;
  }
}
