import { type ApplyRequest, type ApplyStep, formatTransactionId } from '@antiphon/core';
import type { SealRange } from './captured-times.js';
import { isRefusal } from './errors.js';
import type { Pace } from './pace.js';
import { type KeptTransaction, RescueLedger } from './rescue-ledger.js';
import { ImagesOfTables } from './row-images.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import { mappingAt, mappingsOf } from './table-mapping.js';

/** The epoch that holds now began with one of these steps, and is this process's. */
export function isElected({ epoch }: ReplicaState, { steps }: ApplyRequest): boolean {
  return steps.some(
    (step: ApplyStep) => step.type === 'epoch' && step.elected === true && step.seq === epoch.seq,
  );
}

/**
 * Writes what is pending again, each as a new own transaction, behind the numbers that are spent.
 * The ledger tells under which, for who asks for the number that a caller was given.
 * In the transaction that is open on the applying connection, and where nothing is captured: what
 * is written is put into the outbox as it is, so that the users' triggers, whose effects are
 * changes of the same transaction, do not fire again.
 */
export async function reapplyPending(session: Session, draft: ReplicaState, pace: Pace): Promise<void> {
  // Numbers that others wait for are missing: the caller rewinds and claims again.
  if (draft.rescued === 0 || draft.ownCounter !== draft.lastCounter) return;
  const { applier } = session;
  const { outbox, sealer } = session.sealing(applier);
  const ledger = new RescueLedger(applier);
  const images = new ImagesOfTables(applier);
  const tables = new Map(session.tables.map((table) => [table.name, table]));
  const ranges: SealRange[] = [];
  let end = 0;
  for (const transaction of ledger.pending()) {
    applier.statement('SAVEPOINT _antiphon_again').run();
    try {
      write(transaction);
      ledger.resolve(draft, transaction.id, 'reapplied', number());
    } catch (thrown) {
      if (!isRefusal(thrown) || !applier.inTransaction) throw thrown;
      applier.statement('ROLLBACK TO _antiphon_again').run();
      images.drop();
      ledger.keep(transaction.id);
    }
    applier.statement('RELEASE _antiphon_again').run();
    if (pace.due()) await pace.rest();
  }
  images.drop();
  if (ranges.length === 0) return;
  sealer.begin(draft);
  await sealer.seal(0, ranges, pace);
  outbox.clear();
  sealer.finish();

  /** Undefined: its rows were there already. */
  function number(): string | undefined {
    const last = outbox.lastSeq();
    if (last === end) return undefined;
    ranges.push({ end: last });
    end = last;
    const { identity, lastCounter } = draft;
    return formatTransactionId({ origin: identity.replica, counter: lastCounter + ranges.length });
  }

  function write({ changes, tables: dictionary }: KeptTransaction): void {
    const mappings = mappingsOf(dictionary, tables);
    images.clear();
    for (const change of changes) images.note(change, mappingAt(mappings, change.table));
    for (const one of images) {
      one.forgetDone();
      one.capture();
      one.restore('l');
    }
  }
}
