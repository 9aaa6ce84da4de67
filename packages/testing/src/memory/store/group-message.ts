import {
  AntiphonError,
  BatchEncoder,
  DEFAULT_CODEC_LIMITS,
  syncLength,
  type DictionaryTable,
  type NamedClaim,
  type PrepareOptions,
  type PreparedGroup,
  type SyncSection,
} from '@antiphon/core';
import {
  dictionaryOf,
  headerOf,
  writeChanges,
  type MessageHead,
  type TransactionDraft,
} from './message-cutter.js';

/** The one message of a synchronous group, filled transaction by transaction as long as it is not full. */
export class GroupMessage {
  readonly #encoder = new BatchEncoder();
  readonly #drafts: TransactionDraft[] = [];
  #section: SyncSection;
  #tables: DictionaryTable[] = [];
  #startTime = 0;

  constructor(
    private readonly head: MessageHead,
    private readonly options: PrepareOptions,
    readSeq: number,
  ) {
    const { token, reply } = options;
    this.#section = { token, readSeq, ...(reply === undefined ? {} : { reply }), claims: [] };
  }

  get empty(): boolean {
    return this.#drafts.length === 0;
  }

  get maxBytes(): number {
    return Math.min(this.options.maxBytes, DEFAULT_CODEC_LIMITS.maxMessageBytes);
  }

  /** False when it does not fit: then nothing of it is in the message. */
  add(draft: TransactionDraft, claims: readonly NamedClaim[]): boolean {
    if (this.empty) this.#begin(draft);
    this.#encoder.transaction(draft.time - this.#startTime);
    const section = {
      ...this.#section,
      claims: [...this.#section.claims, claims.map(({ claim }) => claim)],
    };
    if (!this.#encode(draft) || this.#encoder.byteLength + syncLength(section) > this.maxBytes) {
      this.#encoder.dropTransaction();
      return false;
    }
    this.#section = section;
    this.#drafts.push(draft);
    return true;
  }

  /** undefined when it is empty. */
  finish(): PreparedGroup['message'] {
    const [first] = this.#drafts;
    const last = this.#drafts.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const data = this.#encoder.finish(this.#section);
    return { firstCounter: first.counter, lastCounter: last.counter, data };
  }

  #begin(first: TransactionDraft): void {
    this.#tables = [];
    this.#startTime = first.time;
    this.#encoder.begin(headerOf(first, [], this.head));
  }

  /** False for a value, or a number of changes, over the codec's own limits. */
  #encode(draft: TransactionDraft): boolean {
    try {
      for (const table of dictionaryOf([draft], this.head.schema)) {
        if (this.#tables.some(({ name }) => name === table.name)) continue;
        this.#encoder.addTable(table);
        this.#tables.push(table);
      }
      writeChanges(this.#encoder, draft, this.#tables);
      return true;
    } catch (error) {
      if (error instanceof AntiphonError && error.code === 'MESSAGE_TOO_LARGE') return false;
      throw error;
    }
  }
}
