import { AntiphonError } from '../errors/antiphon-error.js';
import { isToken } from '../model/outcome-id.js';
import type { Claim, SyncSection } from '../model/transaction.js';
import type { CodecLimits } from './limits.js';
import type { ValueReader } from './value-reader.js';
import type { ValueWriter } from './value-writer.js';

/** Elements of the array: token, read position, reply subject, claims. */
const SECTION_FIELDS = 4;

const MAX_TOKEN_BYTES = 40;
const MAX_REPLY_BYTES = 255;

/** A subject that one can publish to: printable ASCII tokens, none of them empty, no wildcards. */
const SUBJECT = /^[!-)+-\-/-=?-~]+(\.[!-)+-\-/-=?-~]+)*$/;

/**
 * The last field of a batch. Throws for one that no reader would accept; the caller takes back what
 * was written.
 */
export function writeSync(writer: ValueWriter, sync: SyncSection, count: number, limits: CodecLimits): void {
  const { token, readSeq, reply, claims } = sync;
  if (!isToken(token)) throw refused(`"${token}" is not a valid token of a group`);
  if (!isNatural(readSeq)) throw refused(`${readSeq} is not the number of an entry`);
  if (reply !== undefined && !isSubject(reply)) throw refused(`"${reply}" is not a subject to reply to`);
  if (claims.length !== count) throw refused(`it has ${count} transactions, and claims of ${claims.length}`);
  writer.writeArrayHeader(SECTION_FIELDS);
  writer.writeText(token);
  writer.writeInteger(readSeq);
  writer.writeValue(reply ?? null);
  writer.writeArrayHeader(count);
  let allowed = limits.maxClaims;
  for (const list of claims) {
    allowed -= list.length;
    if (allowed < 0) throw tooManyClaims(limits);
    writer.writeArrayHeader(list.length);
    for (const claim of list) {
      if (!isNatural(claim)) throw refused(`${claim} is not a valid claim`);
      writer.writeInteger(claim);
    }
  }
}

/** `count` is the number of transactions. Throws MALFORMED_MESSAGE and MESSAGE_TOO_LARGE. */
export function readSync(reader: ValueReader, count: number, limits: CodecLimits): SyncSection {
  if (reader.readArrayLength('a sync section') !== SECTION_FIELDS)
    throw reader.malformed(`a sync section needs ${SECTION_FIELDS} fields`);
  const token = readBounded(reader, 'a token', MAX_TOKEN_BYTES);
  if (!isToken(token)) throw reader.malformed('a token has characters other than letters and digits');
  const readSeq = reader.readCount('a read position');
  const reply = reader.skipNil() ? undefined : readBounded(reader, 'a reply subject', MAX_REPLY_BYTES);
  if (reply !== undefined && !isSubject(reply))
    throw reader.malformed('a reply subject is not a valid subject');
  const lists = reader.readArrayLength('a list of claims per transaction');
  if (lists !== count) throw reader.malformed(`${count} transactions have claims of ${lists}`);
  const claims = readClaims(reader, count, limits);
  return reply === undefined ? { token, readSeq, claims } : { token, readSeq, reply, claims };
}

function readClaims(reader: ValueReader, count: number, limits: CodecLimits): readonly (readonly Claim[])[] {
  const claims: (readonly Claim[])[] = [];
  let allowed = limits.maxClaims;
  for (let i = 0; i < count; i++) {
    const length = reader.readArrayLength('a list of claims');
    allowed -= length;
    if (allowed < 0) throw tooManyClaims(limits);
    const list: Claim[] = [];
    for (let k = 0; k < length; k++) list.push(reader.readCount('a claim'));
    claims.push(list);
  }
  return claims;
}

function readBounded(reader: ValueReader, what: string, maxBytes: number): string {
  const text = reader.readText();
  if (text.length > maxBytes) throw reader.malformed(`${what} is longer than ${maxBytes} bytes`);
  return text;
}

/** Exactly the bytes that the section adds to a message. */
export function syncLength({ token, readSeq, reply, claims }: SyncSection): number {
  let bytes = 1 + textLength(token) + integerLength(readSeq) + (reply === undefined ? 1 : textLength(reply));
  bytes += arrayHeadLength(claims.length);
  for (const list of claims) {
    bytes += arrayHeadLength(list.length);
    for (const claim of list) bytes += integerLength(claim);
  }
  return bytes;
}

/** Of ASCII, shorter than 256. */
function textLength(text: string): number {
  return (text.length < 0x20 ? 1 : 2) + text.length;
}

function arrayHeadLength(length: number): number {
  if (length < 0x10) return 1;
  return length < 0x1_0000 ? 3 : 5;
}

function integerLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x100) return 2;
  if (value < 0x1_0000) return 3;
  return value < 0x1_0000_0000 ? 5 : 9;
}

function isSubject(text: string): boolean {
  return text.length <= MAX_REPLY_BYTES && SUBJECT.test(text);
}

function isNatural(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function refused(why: string): AntiphonError {
  return new AntiphonError('MALFORMED_MESSAGE', `This group cannot be written: ${why}.`);
}

function tooManyClaims({ maxClaims }: CodecLimits): AntiphonError {
  return new AntiphonError('MESSAGE_TOO_LARGE', `A message has more than ${maxClaims} claims.`, {
    context: { limit: maxClaims },
  });
}
