import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  checkOptions,
  type LogEntry,
  type OptionNames,
  type QuarantinedMessage,
  toAntiphonError,
  sentence,
} from '@antiphon/core';
import type { Holding, Waiting } from '../config/standstill.js';
import { isKnownMember } from '../cluster/members.js';
import type { RejudgeResult, ReplicaProtocol } from '../state/protocols.js';
import { contentOf, type QuarantinedContent } from './quarantined-content.js';
import type { Scope } from '../state/scope.js';

/** So many messages are listed or retried at once; ask again with `afterId` for the rest. */
export const MAX_QUARANTINE_PAGE = 200;
/** Forgotten in one transaction. */
const DISCARD_PAGE = 1000;
/** How long an answer waits for what is held to be tried. */
const HELD_TRY_MS = 5000;

/** Which messages of a quarantine. */
export interface QuarantineQuery {
  /** Only the messages of this entry of the log. */
  readonly seq?: number;
  /** Only messages after the one with this `id`: the next page. */
  readonly afterId?: number;
}

const QUERY: OptionNames<QuarantineQuery> = { seq: true, afterId: true };
const DISCARDED: OptionNames<Pick<QuarantineQuery, 'seq'>> = { seq: true };

/** What a replica has quarantined, and what it cannot apply at the moment. */
export interface QuarantineList {
  /** At most 200, the oldest first. */
  readonly messages: readonly QuarantinedMessage[];
  /** There are more: ask with the last one's `id` as `afterId`. */
  readonly more: boolean;
  /** How many messages are kept now. */
  readonly total: number;
  /** Their bytes. */
  readonly bytes: number;
  /** How many were ever discarded. */
  readonly discarded: number;
  /** How many were not kept because there was no room, since the start of the replica. */
  readonly overflow: number;
  /**
   * What this replica's database refuses, and only that: it is not in quarantine, and is tried
   * again by itself.
   */
  readonly holding?: Holding;
  /** Transactions that are missing here, some perhaps because of what was quarantined. */
  readonly waitingFor: readonly Waiting[];
}

/** One message, as far as it can be read. */
export interface QuarantinedDetail extends QuarantinedMessage {
  readonly content: QuarantinedContent;
}

/** What became of one message that was judged again. */
export interface RetriedMessage {
  /** Its number in the quarantine. */
  readonly id: number;
  /** Its entry of the log. */
  readonly seq: number;
  /** The replica that it says it is from. */
  readonly origin: string;
  /** `present`: its transactions had been applied already. `refused`: it stays in quarantine. */
  readonly state: 'applied' | 'present' | 'refused';
  /** The same as a sentence. */
  readonly message: string;
}

/** What came of judging messages again. */
export interface RetryAnswer {
  readonly results: readonly RetriedMessage[];
  /** The last message that was looked at, when there are more. */
  readonly afterId?: number;
  /** What became of the transaction that was held; absent when none was. */
  readonly held?: { readonly applied: boolean; readonly message: string };
}

/** What came of discarding messages. */
export interface DiscardAnswer {
  /** How many were discarded. */
  readonly discarded: number;
  /**
   * What this replica still waits for: discarding a message does not mean going on without it (I2).
   */
  readonly waitingFor: readonly Waiting[];
}

/** Messages that no replica can accept, and what can be done about them. */
export interface QuarantineAccess {
  /**
   * Lists messages, a page at a time.
   *
   * @throws AntiphonError BAD_OPTION, CLOSED
   */
  list(query?: QuarantineQuery): Promise<QuarantineList>;
  /**
   * Shows what was quarantined of one entry of the log, as far as it can be read.
   *
   * @throws AntiphonError BAD_OPTION when there is nothing of it, CLOSED
   */
  show(seq: number): Promise<readonly QuarantinedDetail[]>;
  /**
   * Judges messages again, a page of all or those of one entry, and applies what is acceptable now
   * and next from its origin. What this database refused is tried at once as well.
   *
   * @throws AntiphonError BAD_OPTION, STORE_BUSY, STORE_FULL, LOG_UNAVAILABLE, CLOSED
   */
  retry(query?: QuarantineQuery): Promise<RetryAnswer>;
  /**
   * Forgets messages: those of one entry, or all. Their origins' transactions are missing as
   * before.
   *
   * @throws AntiphonError BAD_OPTION, STORE_BUSY, STORE_FULL, CLOSED
   */
  discard(query?: Pick<QuarantineQuery, 'seq'>): Promise<DiscardAnswer>;
}

export class Quarantine implements QuarantineAccess {
  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {}

  async list(query: QuarantineQuery = {}): Promise<QuarantineList> {
    checkOptions(query, QUERY, 'quarantine.list()');
    const { counters, store, health } = this.scope;
    const { messages, more } = await this.#page(query, MAX_QUARANTINE_PAGE);
    const { quarantined, quarantinedBytes, discarded } = store.state();
    const { holding, waiting } = health;
    return {
      ...{ messages, more, total: quarantined, bytes: quarantinedBytes, discarded },
      overflow: counters.quarantineOverflow,
      ...(holding && { holding }),
      waitingFor: waiting,
    };
  }

  async show(seq: number): Promise<readonly QuarantinedDetail[]> {
    const { store, id } = this.scope;
    const { messages } = await this.#page({ seq }, MAX_QUARANTINE_PAGE);
    const [first] = messages;
    // What was quarantined of one entry is the same bytes, each time for a reason of its own.
    const data = first && (await store.quarantinedData(first.id));
    if (data === undefined) {
      throw new AntiphonError(
        'BAD_OPTION',
        `Replica ${id} has quarantined nothing of entry ${seq}. \`antiphon quarantine list\` shows what it has.`,
        { context: { replica: id, seq } },
      );
    }
    const content = contentOf(data);
    return messages.map((message) => ({ ...message, content }));
  }

  async retry(query: QuarantineQuery = {}): Promise<RetryAnswer> {
    checkOptions(query, QUERY, 'quarantine.retry()');
    const { messages, more } = await this.#page(query, MAX_QUARANTINE_PAGE);
    await this.scope.members.lookUp(messages.map(({ origin }) => origin));
    const results: RetriedMessage[] = [];
    for (const message of messages) results.push(await this.#retry(message));
    const held = query.seq === undefined || query.seq === this.scope.health.holding?.seq;
    const hurried = held && query.afterId === undefined ? await this.#hurry() : undefined;
    const last = messages.at(-1);
    return {
      results,
      ...(more && last && { afterId: last.id }),
      ...(hurried && { held: hurried }),
    };
  }

  /**
   * Of members only, and nothing but what is in quarantine: their records may have come later than
   * what they wrote. Returns whether any of it has left. Throws what `retry` throws.
   */
  async retryMembers(): Promise<boolean> {
    const before = this.scope.store.state().quarantined;
    for (let afterId = 0; ;) {
      const { messages, more } = await this.#page({ afterId }, MAX_QUARANTINE_PAGE);
      await this.scope.members.lookUp(messages.map(({ origin }) => origin));
      const state = this.scope.store.state();
      for (const message of messages)
        if (isKnownMember(this.scope, message.origin, state)) await this.#retry(message);
      const last = messages.at(-1);
      if (!more || last === undefined) return this.scope.store.state().quarantined < before;
      afterId = last.id;
    }
  }

  async discard(which: Pick<QuarantineQuery, 'seq'> = {}): Promise<DiscardAnswer> {
    checkOptions(which, DISCARDED, 'quarantine.discard()');
    const { seq } = which;
    const { store, health } = this.scope;
    const before = store.state();
    // What is quarantined meanwhile comes last, and was not meant.
    for (let left = before.quarantined; left > 0;) {
      const query = seq === undefined ? {} : { seq };
      const { messages } = await this.#page(query, Math.min(left, DISCARD_PAGE));
      if (messages.length === 0) break;
      left -= messages.length;
      const ids = messages.map(({ id }) => id);
      await this.replica.ask('discard', ids, { timeoutMs: Infinity });
    }
    return { discarded: store.state().discarded - before.discarded, waitingFor: health.waiting };
  }

  async #page(
    { seq, afterId = 0 }: QuarantineQuery,
    limit: number,
  ): Promise<{ readonly messages: readonly QuarantinedMessage[]; readonly more: boolean }> {
    const query = { afterId, limit: limit + 1, ...(seq === undefined ? {} : { seq }) };
    const found = await this.scope.store.quarantine(query);
    return { messages: found.slice(0, limit), more: found.length > limit };
  }

  async #retry(message: QuarantinedMessage): Promise<RetriedMessage> {
    const { id, seq, origin, storedAtMs } = message;
    const { store } = this.scope;
    const data = await store.quarantinedData(id);
    const said = (state: RetriedMessage['state'], text: string): RetriedMessage => {
      return { id, seq, origin, state, message: text };
    };
    if (data === undefined) return said('present', 'It is no longer in quarantine.');
    const entries = [{ seq, origin, data, storedAtMs }];
    const { verdicts, steps, refused } = await this.#rejudge(entries, id);
    if (refused !== undefined)
      return said(
        'refused',
        `It stays in quarantine: this database refuses it. ${sentence(refused.message)}`,
      );
    const obstacle = verdicts[0]?.obstacle;
    if (obstacle !== undefined && steps === 0)
      return said('refused', `It stays in quarantine: ${sentence(obstacle)}`);
    if (obstacle !== undefined)
      return said('refused', `A part of it was applied. It stays in quarantine: ${sentence(obstacle)}`);
    if (steps === 0) return said('present', 'Everything in it was applied before.');
    return said('applied', 'It was applied.');
  }

  /**
   * In a turn of the database's owner: whatever came meanwhile counts. Throws what is worth another
   * try.
   */
  async #rejudge(entries: readonly LogEntry[], release: number): Promise<RejudgeResult> {
    const rejudged = await this.replica
      .ask('rejudge', { entries, release }, { timeoutMs: Infinity })
      .catch((thrown: unknown): RejudgeResult => ({
        verdicts: [],
        steps: 0,
        refused: toAntiphonError(thrown),
      }));
    if (rejudged.refused?.retriable === true) throw rejudged.refused;
    return rejudged;
  }

  /** Tries at once what this database did not take; undefined when nothing is held. */
  async #hurry(): Promise<RetryAnswer['held']> {
    const { health, progress } = this.scope;
    const before = health.holding;
    if (before === undefined) return undefined;
    this.replica.tell('hurry');
    const tried = (): boolean => {
      const now = health.holding;
      return now === undefined || now.attempts > before.attempts || isAnother(now, before);
    };
    await progress
      .until(tried, { timeoutMs: HELD_TRY_MS, what: 'what is held was tried again' })
      .catch(() => undefined);
    const after = health.holding;
    if (after === undefined || isAnother(after, before))
      return { applied: true, message: 'What was held is applied. Replication continues.' };
    return { applied: false, message: after.message };
  }
}

/** What was held has passed. A hold that the look at the schema began has no entry at first. */
function isAnother(now: Holding, before: Holding): boolean {
  if (now.sinceMs !== before.sinceMs) return true;
  return now.seq !== undefined && before.seq !== undefined && now.seq !== before.seq;
}
