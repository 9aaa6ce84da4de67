import { compareCursors, decodeCursor, encodeCursor, type ChangeCursor } from '../changes/change-cursor.js';

/**
 * `new`: it moves the place. `old`: it was acknowledged already. `unknown`: this instance did not
 * deliver it.
 */
export type AckVerdict = 'new' | 'old' | 'unknown';

/**
 * What one instance of a subscription has delivered and what of that is acknowledged: two cursors,
 * however much is between them. Acknowledgements are cumulative.
 */
export class DeliveryWindow {
  #ackedText: string;
  #acked: ChangeCursor;
  #deliveredText: string;
  /** Behind the last entry that was delivered wholly, whether something of it was wanted or not. */
  #passed: ChangeCursor | undefined;

  /** `place`: everything up to there was acknowledged to the instance before. Throws BAD_OPTION. */
  constructor(place: string) {
    this.#ackedText = place;
    this.#deliveredText = place;
    this.#acked = decodeCursor(place);
  }

  /** In the order of the stream. */
  delivered(cursor: string): void {
    // The place does not go back to what was acknowledged before the entries that were passed.
    if (this.settled && this.#passed !== undefined)
      [this.#ackedText, this.#acked] = [encodeCursor(this.#passed), this.#passed];
    this.#deliveredText = cursor;
    this.#passed = undefined;
  }

  /** Nothing that is wanted lies between the last delivered change and this place. */
  passed(cursor: ChangeCursor): void {
    this.#passed = cursor;
  }

  /** Everything that was delivered is acknowledged. */
  get settled(): boolean {
    return this.#ackedText === this.#deliveredText;
  }

  /** Throws BAD_OPTION when it is not a cursor. */
  ack(text: string): AckVerdict {
    if (text === this.#ackedText) return 'old';
    const cursor = decodeCursor(text);
    // The last one that was delivered, as a rule.
    if (text !== this.#deliveredText) {
      const order = compareCursors(cursor, decodeCursor(this.#deliveredText));
      if (order !== 'before' && order !== 'equal') return 'unknown';
    }
    const order = compareCursors(cursor, this.#acked);
    if (order === 'unrelated') return 'unknown';
    if (order !== 'after') return 'old';
    [this.#ackedText, this.#acked] = [text, cursor];
    return 'new';
  }

  /**
   * Where the next instance goes on. While nothing waits for its acknowledgement it follows what
   * was read, so that a subscription to tables that rarely change does not stay behind.
   */
  get place(): string {
    return this.settled && this.#passed !== undefined ? encodeCursor(this.#passed) : this.#ackedText;
  }

  /** The entry of the log that the place is in, or in front of. */
  get seq(): number {
    return this.settled && this.#passed !== undefined ? this.#passed.seq : this.#acked.seq;
  }

  /** Where this instance itself goes on reading: behind what it has delivered. */
  get readOn(): ChangeCursor {
    return this.#passed ?? decodeCursor(this.#deliveredText);
  }
}
