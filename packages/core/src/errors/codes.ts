/**
 * Every error code of Antiphon, with what it means and what to do. `docs/errors.md` is generated
 * from this table. A code is stable: programs may match on it.
 */
export const ERROR_CODES = {
  // Usage
  BAD_OPTION: {
    retriable: false,
    means: 'An option or a configuration value is not valid.',
    do: 'Correct the named option.',
  },
  NODE_TOO_OLD: {
    retriable: false,
    means: 'The program runs on a Node.js that is too old for Antiphon.',
    do: 'Install the Node.js that the message names, and start the program with it.',
  },
  BAD_SQL: {
    retriable: false,
    means: 'A statement was refused by the database.',
    do: 'Correct the statement, or do what the message says. Nothing was written.',
  },
  CONSTRAINT: {
    retriable: false,
    means: 'A constraint of the database refused the write.',
    do: 'Correct the data. Nothing of its transaction was kept.',
  },
  UNEXPECTED_ROWS: {
    retriable: false,
    means: 'A statement changed another number of rows than its `rows` says.',
    do: 'Read the rows again, and decide anew. Nothing of its transaction was kept.',
  },
  NOT_WRITABLE: {
    retriable: false,
    means: 'This replica does not accept writes.',
    do: 'Write to the primary that the message names.',
  },
  NOT_PRIMARY: {
    retriable: false,
    means:
      'Only the primary can promise what a read asks for: this replica does not know what was acknowledged last.',
    do: 'Read at the primary that the message names, or ask for less than `strong`.',
  },
  CLOSED: { retriable: false, means: 'The replica, store or connection is closed.', do: 'Open it again.' },
  ABORTED: {
    retriable: true,
    means: 'The caller gave up through its AbortSignal.',
    do: 'Nothing, or call again.',
  },
  TIMEOUT: {
    retriable: true,
    means: 'No answer came within the time limit.',
    do: 'Call again, or look at `antiphon status`.',
  },
  OVERLOADED: { retriable: true, means: 'A bounded queue is full.', do: 'Slow down and call again.' },
  // Synchronous updates
  CONFLICT: {
    retriable: true,
    means: 'Another transaction that was committed first wrote or locked the same row.',
    do: 'Run the transaction again: it was tried several times, and nothing of it was kept.',
  },
  NOT_IN_SYNC: {
    retriable: true,
    means:
      'Too few replicas are in sync for the acknowledgements that the write asks for, or this replica ' +
      'itself is out of sync.',
    do:
      'Start the replicas that `antiphon status` shows as missing, or lower `minInSync`. Nothing was written. ' +
      'Read where the message says, if it was a strong read.',
  },
  OUTCOME_UNKNOWN: {
    retriable: false,
    means: 'The log did not confirm the write in time. It may or may not be committed.',
    do:
      'Ask `antiphon outcome ID` (or `replica.outcome(id)`) before you write again. With the id of a request, ' +
      'call `execute` again under it: it is written once.',
  },
  // Clocks
  CLOCK_SKEW: {
    retriable: true,
    means:
      "This machine's clock is ahead of the log's by more than `limits.maxClockSkewMs`, or the newest time " +
      'in the database by more than `clockRefusalMs`; changes get no times.',
    do:
      'Set the clock that the message names, or wait as long as it says. Writes resume automatically, and ' +
      'nothing is lost.',
  },
  // Sessions
  SESSION_LOST: {
    retriable: false,
    means:
      'The session has seen a transaction that the log had not got when the next epoch began. It was undone, and is in ' +
      'a rescue ledger, or was written again under another number. Or it has seen a log that was replaced.',
    do: 'Start a new session, and read again what you go by. See "What is lost, and when" in docs/failover.md.',
  },
  // Subscriptions
  SUBSCRIPTION_LOST: {
    retriable: false,
    means:
      'This instance is not the active one of its subscription any more: another one has taken over, the ' +
      'subscription was removed, or this one let go of it because its replica holds.',
    do: 'Subscribe again to stand by. The active instance gets again what was not acknowledged.',
  },
  PLACE_LOST: {
    retriable: false,
    means:
      'The log does not hold what follows the place of a subscription or of a stream of changes, or what a `from` ' +
      'names, or it is another log.',
    do:
      'Remove the subscription if there is one, and begin anew: from now, and make up for what was missed with ' +
      '`query`; or from the beginning. See "When the place is lost" in docs/subscriptions.md.',
  },
  // Messages
  MALFORMED_MESSAGE: {
    retriable: false,
    means: 'A message is not valid Antiphon wire format.',
    do: 'Find out who publishes it: `antiphon quarantine show ENTRY`. Nothing of it was applied.',
  },
  MESSAGE_TOO_LARGE: {
    retriable: false,
    means: 'A message or value is over its limit.',
    do:
      'Send less at once: split the transaction or the value, or keep large values outside of the database. ' +
      'Where the message names a limit of NATS, raise it.',
  },
  UNSUPPORTED_FORMAT: {
    retriable: false,
    means: 'A message has a format version that this build does not know.',
    do: 'Upgrade this replica.',
  },
  UNKNOWN_ORIGIN: {
    retriable: false,
    means: 'A message comes from an id that is not a member of the cluster.',
    do: 'Find out who publishes it: `antiphon quarantine show ENTRY`. Nothing of it was applied.',
  },
  UNKNOWN_TABLE: {
    retriable: false,
    means: 'A caller or a message names a table or column that this cluster does not replicate.',
    do:
      'Correct the name that you gave. If it is in a message of the log, find out who publishes it: ' +
      '`antiphon quarantine show ENTRY`. Nothing of it was applied.',
  },
  // Actors
  ACTOR_STOPPED: {
    retriable: true,
    means: 'The actor stopped or crashed before it answered.',
    do: 'Call again. The log says why it stopped.',
  },
  NO_ACTOR: {
    retriable: true,
    means: 'No replica listens on that subject.',
    do: 'Start the replica, or check its id and cluster. `antiphon status` shows which replicas answer, and which have stalled.',
  },
  REMOTE: { retriable: false, means: 'A remote actor answered with an error.', do: 'See its message.' },
  // Store
  STORE_BUSY: {
    retriable: true,
    means: 'Another program holds the write lock of the database.',
    do: "End that program's transaction.",
  },
  STORE_FULL: {
    retriable: true,
    means: 'The disk is full.',
    do: 'Free disk space. The replica resumes automatically.',
  },
  STORE_UNAVAILABLE: {
    retriable: true,
    means:
      'The operating system did not let the database be read or written: an I/O error, a read-only disk, ' +
      'no permission, too little memory or too few file descriptors.',
    do:
      'Repair what the message names (the disk, the folder, the limits of the process). The replica ' +
      'retries and resumes automatically.',
  },
  STORE_CORRUPT: {
    retriable: false,
    means: 'The database file is damaged, or is no longer a SQLite database.',
    do:
      'Stop the replica, check the disk, and start it with a backup of this file or with an empty one. It ' +
      'fetches the rest from the log. Keep the damaged file: unpublished changes exist only there.',
  },
  STORE_FAILED: {
    retriable: false,
    means: 'The database failed.',
    do:
      'Do what the message says. If it names nothing else, check the disk and the file (`PRAGMA ' +
      'integrity_check`).',
  },
  STORE_CONTENT: {
    retriable: false,
    means: 'The database has content that does not belong to this cluster, or that cannot be replicated.',
    do:
      'Do what the message says. If it asks for another file, use that of this replica, or an empty one, ' +
      'which gets everything from the log.',
  },
  STORE_REPLACED: {
    retriable: false,
    means: 'Another file, or an older copy, was put in the place of a running replica’s database.',
    do:
      'Start the replica again. It continues from what the file holds and fetches the rest from the log. ' +
      'Keep the file that was there before: its unpublished changes exist only there.',
  },
  UNSUPPORTED_TABLE: {
    retriable: false,
    means: 'A table cannot be replicated.',
    do: '`antiphon check FILE` shows every obstacle at once, and a `tables:` line that leaves these tables out.',
  },
  SCHEMA_DRIFT: {
    retriable: false,
    means:
      'A replicated table was changed outside of Antiphon, or rebuilt, so that changes of its rows may ' +
      'have gone unnoticed.',
    do:
      'Change back what the message names. Put back rows that were lost with a table first, from the file of ' +
      'another replica (`ATTACH`, `INSERT … SELECT`) or a backup: what is missing is taken for deleted, ' +
      'everywhere. If a table was rebuilt or lost its triggers, then see `antiphon recapture TABLE ' +
      '--dry-run`, and run it without `--dry-run`. Otherwise the replica resumes automatically.',
  },
  DELETES_ROWS: {
    retriable: false,
    means: 'Recapturing a table would delete all of its rows everywhere, or more than half of more than ten.',
    do:
      'Put the rows back first, from the file of another replica or a backup. If they are meant to be ' +
      'deleted, confirm it: `--delete-rows`, or `deleteRows: true`.',
  },
  APPLY_REFUSED: {
    retriable: false,
    means: 'The database of this replica refused a transaction of another one.',
    do:
      'Change what refuses it, as the message says. The replica holds there, retries, and resumes ' +
      'automatically. `antiphon quarantine retry` retries at once.',
  },
  // Log and cluster
  LOG_UNAVAILABLE: {
    retriable: true,
    means: 'NATS or JetStream does not answer.',
    do:
      'See whether nats-server runs, with JetStream, at the address in the message. A running replica ' +
      'resumes automatically once it answers.',
  },
  ACCESS_DENIED: {
    retriable: false,
    means: 'NATS refused this client, or does not permit what it has to do.',
    do: 'Correct the credentials, or grant what the message names. docs/access.md lists what each role needs.',
  },
  LOG_REPLACED: {
    retriable: false,
    means: 'The stream is not the one this database was replicating with, or it lost entries.',
    do: 'Stop the replicas and follow docs/lost-log.md: put the log back, or decide which databases to keep.',
  },
  LOG_REFUSED: {
    retriable: false,
    means: 'The log refused a message, or no replica accepts it.',
    do: 'See the message and its cause. Nothing of it was written.',
  },
  CLUSTER_MISMATCH: {
    retriable: false,
    means: "This replica's settings differ from what the cluster agreed on, or what it agreed on is missing.",
    do: "Use the cluster's settings, shown in the message, or do what it says.",
  },
  DUPLICATE_REPLICA: {
    retriable: false,
    means:
      'Another process runs under the same replica id, or took it while this one did not answer. Or another ' +
      'file has served under it, and the log has other transactions under numbers that this database has used.',
    do:
      'Stop one of them, or choose another id. If it was another file, see docs/lost-log.md: two files ' +
      'under one id.',
  },
  MEMBER_RUNNING: {
    retriable: false,
    means: 'A member that must be stopped first is running.',
    do: 'Stop the members that the message names, or do what it says instead.',
  },
  MEMBER_REMOVED: {
    retriable: false,
    means: 'This replica was removed from the cluster while it ran. It has ended.',
    do: 'Start it again to let it join again, or delete its database.',
  },
  NATS_SERVER_NOT_FOUND: {
    retriable: false,
    means: 'No nats-server binary was found or could be obtained.',
    do: 'Install nats-server, or name a running one.',
  },
  NATS_SERVER_START: {
    retriable: false,
    means: 'nats-server did not start.',
    do: 'Do what the message says. If it shows the last lines of its log, these say why.',
  },
  INTERNAL: { retriable: false, means: 'A defect in Antiphon.', do: 'Please report it with the stack.' },
} as const satisfies Record<string, { retriable: boolean; means: string; do: string }>;

/**
 * The code of an AntiphonError: stable, and the thing to match on. docs/errors.md lists them all.
 */
export type ErrorCode = keyof typeof ERROR_CODES;
