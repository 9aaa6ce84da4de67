import {
  AntiphonError,
  counterOf,
  findVoided,
  formatTransactionId,
  hasOtherPrimary,
  isRecord,
  newestEpoch,
  type Position,
  type StoreState,
  type TransactionId,
  type VectorClock,
} from '@antiphon/core';

/**
 * A session token: a read that comes after it shows at least what was written (or read) there. A
 * place in the log and, for what was not in the log yet, counters per origin.
 */
export interface SessionPosition extends Position {
  /** Per origin, the counter of a transaction that has to be applied as well. */
  readonly vector?: VectorClock;
}

/** A read that waits looks at each of them whenever something is applied. */
const MOST_ORIGINS = 256;

/** What a caller may give: the `position` of a result, a position, or a vector. */
export type SessionToken = SessionPosition | VectorClock;

export function sessionPosition(
  generation: string,
  seq: number,
  id: TransactionId | undefined,
): SessionPosition {
  return { generation, seq, ...(id && { vector: { [id.origin]: id.counter } }) };
}

/** A token of all that a database shows now: its place in the log, and its own transactions. */
export function placeOf(scope: {
  readonly id: string;
  readonly store: { state(): StoreState };
  readonly positions: { readonly passed: number };
}): SessionPosition {
  const { position, vector, epochs } = scope.store.state();
  const { id: origin, positions } = scope;
  const counter = counterOf(vector, origin);
  const { generation } = position;
  // Its last numbers may stand for nothing: what it has before them is in the log.
  const isReal = counter > 0 && findVoided(epochs, { origin, counter }) === undefined;
  return { generation, seq: positions.passed, ...(isReal && { vector: { [origin]: counter } }) };
}

/**
 * The place of a write without its own transaction, for what was there before it. Numbers that
 * stand for nothing were spent before its epoch, which the place includes.
 */
export function placeBefore(
  { origin, counter: own }: TransactionId,
  { generation, seq }: Position,
  { epochs }: Pick<StoreState, 'epochs'>,
): SessionPosition {
  const counter = own - 1;
  const isReal = counter > 0 && findVoided(epochs, { origin, counter }) === undefined;
  return { generation, seq, ...(isReal && { vector: { [origin]: counter } }) };
}

/**
 * A transaction of the token that counts for nobody any more, as far as a database knows that has
 * passed this entry: it was undone, or the log had not got it when another replica became the
 * primary. Whoever wrote it had read the beginning of its own epoch, which the token's place
 * includes: a newer one of somebody else is behind it. A token without a place says none of that.
 */
export function lostOf(
  { generation, seq, vector = {} }: SessionPosition,
  state: StoreState,
  passedSeq: number,
): TransactionId | undefined {
  const isOfThisLog = seq > 0 && generation === state.position.generation && passedSeq >= seq;
  const epoch = newestEpoch(state);
  for (const [origin, counter] of Object.entries(vector)) {
    const isMissing = counterOf(state.vector, origin) < counter;
    const isWhole = !state.gaps.some((gap) => gap.origin === origin);
    const isFenced = isOfThisLog && isMissing && isWhole && hasOtherPrimary(epoch, origin);
    if (isFenced || findVoided(state.epochs, { origin, counter }) !== undefined) return { origin, counter };
  }
  return undefined;
}

export function sessionLost(lost: TransactionId): AntiphonError {
  const id = formatTransactionId(lost);
  const message =
    `The session has seen ${id}, which had not come into the log when the next epoch began, and was undone: it is in ` +
    `the rescue ledger of ${lost.origin}, or was written again under another number (\`antiphon outcome ${id}\`). ` +
    'Start a new session, and read again.';
  return new AntiphonError('SESSION_LOST', message, { context: { id } });
}

/** Throws BAD_OPTION. */
export function parseSessionToken(input: unknown): SessionPosition {
  if (!isRecord(input)) throw bad();
  const { generation, seq } = input;
  if (typeof generation === 'string' && isWhole(seq)) {
    const { vector } = input;
    return { generation, seq: Number(seq), ...(vector !== undefined && { vector: parseVector(vector) }) };
  }
  return { generation: '', seq: 0, vector: parseVector(input) };
}

/**
 * Whether a database in this state, with everything of the log up to `appliedSeq`, shows what the
 * token stands for. Throws SESSION_LOST when it is of another log.
 */
export function isReached(token: SessionPosition, state: StoreState, appliedSeq: number): boolean {
  if (token.generation !== '' && token.generation !== state.position.generation) {
    throw new AntiphonError(
      'SESSION_LOST',
      `The session token is of log ${token.generation}, and this replica has ${state.position.generation}. Start a new session.`,
    );
  }
  if (appliedSeq < token.seq) return false;
  const { vector = {} } = token;
  return Object.keys(vector).every((origin) => counterOf(state.vector, origin) >= counterOf(vector, origin));
}

function parseVector(input: unknown): VectorClock {
  if (!isRecord(input)) throw bad();
  const entries = Object.entries(input);
  if (entries.length > MOST_ORIGINS) {
    const message = `\`after\` names ${entries.length} replicas. A session token names ${MOST_ORIGINS} at most.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  const counters = entries.map(([origin, counter]) => {
    if (!isWhole(counter)) throw bad();
    return [origin, Number(counter)] as const;
  });
  return Object.fromEntries(counters);
}

function isWhole(input: unknown): boolean {
  const number = typeof input === 'bigint' ? Number(input) : input;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0;
}

function bad(): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    '`after` is not a session token. Give the `position` of a write, or a vector.',
  );
}
