/**
 * Kinds of outbox rows. A suspect is a row that REPLACE may be about to delete without a delete
 * trigger firing.
 */
export const OUTBOX_INSERT = 0;
export const OUTBOX_UPDATE = 1;
export const OUTBOX_DELETE = 2;
export const OUTBOX_SUSPECT = 3;

/**
 * In place of a count of changes (`total`): the row was moved to where it is, and was made when it
 * says, whatever lies around it. Below it: this minus one minus the count of a row that belongs to
 * the transaction of the row before it. NULL: so does this one, and its count is not known.
 */
export const TOTAL_MOVED = -1;
/**
 * Likewise: this row belongs to the transaction of the row before it, and others that do so are
 * gone.
 */
export const TOTAL_WITHIN = -(2 ** 43);
/**
 * Likewise: this row is what is left of several, the first in its place. Minus the count of the
 * first times `TOTAL_PAIR`, minus that of the last; of both below `TOTAL_PAIR`. `MOVED`: and it was
 * made when the last was.
 */
export const TOTAL_JOINED = -(2 ** 41);
export const TOTAL_JOINED_MOVED = -(2 ** 42);
export const TOTAL_PAIR = 2 ** 20;

/** From here on no changes, but what a write claims besides them, for certification: never sent. */
export const FIRST_CLAIM = 4;
/** A row that an UPDATE left as it is; its key, in the old image. */
export const OUTBOX_TOUCHED = 4;
/** A row that REPLACE may overwrite by its primary key, in the old image. */
export const OUTBOX_REPLACED = 5;
/**
 * What a row refers to through generated columns, in the new image; `o0` says which of the table's
 * references it is.
 */
export const OUTBOX_REFERENCE = 6;
/**
 * A row that kept a new one out, or an update, unless REPLACE took it; its key, in the old image.
 */
export const OUTBOX_FOUND = 7;
