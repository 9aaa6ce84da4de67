import { AntiphonError, type LogIdentity } from '@antiphon/core';

/** I14. `knownSeq`: an entry that the log had before it was asked. Throws LOG_REPLACED. */
export function assertSameLog(identity: LogIdentity, generation: string, knownSeq: number): void {
  if (identity.generation !== generation) {
    throw replaced(`it has generation ${identity.generation}, not ${generation}: the stream was recreated`);
  }
  if (identity.lastSeq < knownSeq) {
    throw replaced(`it ends at ${identity.lastSeq}, and had ${knownSeq} before: it was cut or restored`);
  }
}

/** As well: what comes next for a reader at `seq` is still there. */
export function assertReadable(identity: LogIdentity, seq: number): void {
  if (identity.firstSeq > seq + 1) {
    throw replaced(
      `it begins at ${identity.firstSeq}, and this replica needs it from ${seq + 1} on: it was trimmed`,
    );
  }
}

function replaced(why: string): AntiphonError {
  return new AntiphonError(
    'LOG_REPLACED',
    `the log is not what this database was replicating with: ${why}. Find out by whom; nothing was applied or lost`,
  );
}
