import { AntiphonError, summarize, type LogEntry, type LogIdentity } from '@antiphon/core';
import type { ClusterDocument } from './cluster-document.js';
import { retrying, type Deadline } from './deadline.js';
import { assertReadable, assertSameLog } from './log-check.js';
import type { Settings } from './options.js';

const SCAN = { maxEntries: 1024, maxBytes: 4 * 1024 * 1024 };
/**
 * How far back from the position own entries are looked for, once the newest one is not the one that it
 * should be.
 */
const MAX_LOOK_BACK = 20_000;

/**
 * I14: is the log the one that this database has replicated with? By its generation and length, by the entry
 * at the position, and by what it holds of this replica. Changes nothing. Throws LOG_UNAVAILABLE, TIMEOUT;
 * LOG_REPLACED is what it returns.
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
    await assertOwnEntries(settings, identity, deadline);
    return undefined;
  } catch (error) {
    if (error instanceof AntiphonError && error.code === 'LOG_REPLACED') return error;
    throw error;
  }
}

/** What counts as published is in the log, unless it was trimmed. */
async function assertOwnEntries(
  settings: Settings,
  identity: LogIdentity,
  deadline: Deadline,
): Promise<void> {
  const { log, store, clock, id } = settings;
  const { publishedCounter, position } = store.state();
  if (publishedCounter === 0) return;
  const newest = await retrying(clock, deadline, () => log.lastOf(id, deadline.signal));
  // What comes after the position is looked at when it is read.
  if (newest !== undefined && (newest.seq > position.seq || lastCounterIn(newest) >= publishedCounter))
    return;
  // A message that was thought lost and came late may stand after newer ones.
  const fromSeq = Math.max(1, identity.firstSeq, (newest?.seq ?? 0) - MAX_LOOK_BACK);
  const found =
    newest === undefined ? 0 : await highestOwn(settings, identity, fromSeq, newest.seq, deadline);
  if (found >= publishedCounter || fromSeq > 2) return;
  throw log.replace(
    `it holds transactions of ${id} up to ${found}, and those up to ${publishedCounter} were published`,
  );
}

async function highestOwn(
  { log, clock, id }: Settings,
  { generation }: LogIdentity,
  fromSeq: number,
  lastSeq: number,
  deadline: Deadline,
): Promise<number> {
  const reader = await retrying(clock, deadline, () => log.read({ generation, fromSeq }));
  try {
    let highest = 0;
    for (let seq = fromSeq - 1; seq < lastSeq;) {
      for (const entry of await reader.next({ ...SCAN, signal: deadline.signal })) {
        if (entry.origin === id && entry.seq <= lastSeq) highest = Math.max(highest, lastCounterIn(entry));
        seq = entry.seq;
      }
      deadline.renew();
    }
    return highest;
  } finally {
    void reader.close();
  }
}

/** 0 for what cannot be read. */
function lastCounterIn({ data }: LogEntry): number {
  try {
    return Math.max(0, ...summarize(data).map(({ lastCounter }) => lastCounter));
  } catch (error) {
    if (error instanceof AntiphonError) return 0;
    throw error;
  }
}
