import {
  AntiphonError,
  durationText,
  parseOutcomeId,
  shownOption,
  UnknownOutcomeError,
} from '@antiphon/core';

const REQUEST_ID = /^[\x20-\x7e]{1,200}$/;
const UUID_V7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** Throws BAD_OPTION. */
export function assertRequestId(input: unknown): asserts input is string {
  if (typeof input === 'string' && REQUEST_ID.test(input) && !isOutcomeId(input)) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `\`requestId\` is ${shownOption(input)}. Give 1 to 200 printable ASCII characters that do not look like the id of a transaction, best newId().`,
  );
}

/** `outcome()` takes either. */
export function isOutcomeId(text: string): boolean {
  try {
    parseOutcomeId(text);
    return true;
  } catch {
    return false;
  }
}

/** When a UUID of version 7 was made. Undefined of any other id. */
export function timeOf(id: string): number | undefined {
  const [, high, low] = UUID_V7.exec(id) ?? [];
  return high === undefined || low === undefined ? undefined : parseInt(high + low, 16);
}

/** After it a message says what to do, which is another thing on a command line. */
export const IS_UNCLEAR = 'The write may or may not be committed.';

/** `why`: a sentence. */
export function unknownRequest(why: string, id: string, cause?: unknown): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `${why} ${IS_UNCLEAR} Call execute again with \`requestId: '${id}'\` within an hour: ` +
      'what is committed is not written again.',
    id,
    { cause },
  );
}

/** It may be what ends them: a statement that takes too long would end one after the other. */
const MOST_LOST_PRIMARIES = 2;
/** Of `limits.blockedMs`: the process that ends itself counts from a little earlier. */
const TOO_LONG_SHARE = 0.9;

/** A primary that lost its role while it had a request. */
export interface LostPrimary {
  readonly primary: string;
  /** For so long it had the request. */
  readonly openMs: number;
  /** How many it was asked of have lost their role, this one included. */
  readonly primaries: number;
}

/**
 * A sentence; undefined where the next one may be asked. One that was killed by chance is not the
 * rule.
 */
export function whyAskNobodyElse(lost: LostPrimary, blockedMs: number): string | undefined {
  const { primary, openMs, primaries } = lost;
  if (primaries >= MOST_LOST_PRIMARIES)
    return `${primaries} primaries lost their role while they had the write.`;
  if (openMs < blockedMs * TOO_LONG_SHARE) return undefined;
  return `The primary ${primary} lost its role while it had the write, for ${durationText(openMs)}.`;
}

/** `why`: sentences. */
export function outlastingRequest(
  why: string,
  id: string,
  blockedMs: number,
  cause?: unknown,
): UnknownOutcomeError {
  const message =
    `${why} No other primary is asked: a write that takes longer than \`limits.blockedMs\` (${durationText(blockedMs)}) ` +
    `would cost that one its role as well. Write it in pieces, or raise the limit. ${IS_UNCLEAR} ` +
    `outcome('${id}') tells; \`requestId: '${id}'\` keeps it from being written twice.`;
  return new UnknownOutcomeError(message, id, { cause });
}
