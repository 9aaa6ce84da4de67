import { AntiphonError, NOBODY } from '@antiphon/core';

/** `primary`: as far as this replica has read the log. */
export function notWritable({
  cluster,
  id,
  primary = NOBODY,
  epoch,
}: {
  readonly cluster: string;
  readonly id: string;
  readonly primary: string | undefined;
  /** Of which that one is the primary; where it may change. */
  readonly epoch?: number;
}): AntiphonError {
  const isChanging = primary === NOBODY || primary === id;
  const hint = isChanging
    ? 'Which replica is the primary is being decided. Call again in a moment.'
    : `Write to the primary, ${primary}.`;
  return new AntiphonError('NOT_WRITABLE', `Replica ${id} takes no writes. ${hint}`, {
    context: { cluster, replica: id, primary, ...(epoch !== undefined && { epoch }) },
    retriable: isChanging,
  });
}
