/**
 * For whoever is about to make a database a replica: SQLite fails a read transaction that comes to
 * write without waiting, so a busy timeout is not enough.
 */
export const OTHER_PROGRAMS =
  'Programs that write to the file while a replica runs on it need a busy timeout (`.timeout 5000`), and ' +
  '`BEGIN IMMEDIATE` for transactions that read before they write (docs/other-programs.md).';
