/** Kinds of outbox rows. A suspect is a row that REPLACE may be about to delete without a delete trigger firing. */
export const OUTBOX_INSERT = 0;
export const OUTBOX_UPDATE = 1;
export const OUTBOX_DELETE = 2;
export const OUTBOX_SUSPECT = 3;

/**
 * In place of a count of changes (`total`): the row was moved to where it is, and was made when it says,
 * whatever lies around it. Below it: this minus one minus the count of a row that belongs to the transaction
 * of the row before it. NULL: so does this one, and its count is not known.
 */
export const TOTAL_MOVED = -1;

/** From here on no changes, but what a write claims besides them, for certification: never sent. */
export const FIRST_CLAIM = 4;
/** A row that an UPDATE left as it is; its key, in the old image. */
export const OUTBOX_TOUCHED = 4;
/** A row that REPLACE may overwrite by its primary key, in the old image. */
export const OUTBOX_REPLACED = 5;
/**
 * What a row refers to through generated columns, in the new image; `o0` says which of the table's references
 * it is.
 */
export const OUTBOX_REFERENCE = 6;
/** A row that kept a new one out, or an update, unless REPLACE took it; its key, in the old image. */
export const OUTBOX_FOUND = 7;
