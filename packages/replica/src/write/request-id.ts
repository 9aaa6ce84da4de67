import { AntiphonError, parseOutcomeId, shownOption, UnknownOutcomeError } from '@antiphon/core';

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

/** `why`: a sentence. */
export function unknownRequest(why: string, id: string, cause?: unknown): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `${why} The write may or may not be committed. Call execute again with \`requestId: '${id}'\` within an hour: ` +
      'what is committed is not written again.',
    id,
    { cause },
  );
}
