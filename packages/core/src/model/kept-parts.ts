/** Parts of one big transaction, from its beginning without a hole. */
export interface KeptParts {
  readonly counter: number;
  /** Of the transaction: it is the one that had this counter first, or another one. */
  readonly time: number;
  /** How many bytes of its changes. */
  readonly bytes: number;
}
