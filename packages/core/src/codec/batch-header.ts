import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import { isIdentifier } from '../model/identifier.js';
import type { BatchHeader } from '../model/transaction.js';
import { MAX_HYBRID_TIME } from '../clocks/hybrid-clock.js';
import { BATCH_FIELDS, FORMAT_VERSION, SYNC_BATCH_FIELDS, SYNC_FORMAT_VERSION } from './format.js';
import type { CodecLimits } from './limits.js';
import type { ValueReader } from './value-reader.js';
import type { ValueWriter } from './value-writer.js';

/** The scalars at the front of a batch. */
export interface BatchHead {
  /** Whether a sync section comes behind the body. */
  readonly synchronous: boolean;
  readonly origin: string;
  readonly firstCounter: number;
  readonly epoch: number;
  readonly time: number;
}

const MAX_IDENTIFIER_BYTES = 63;

/**
 * Everything before the dictionary. Throws MALFORMED_MESSAGE for a header that no reader would
 * accept.
 */
export function writeHead(writer: ValueWriter, header: BatchHeader, limits: CodecLimits): void {
  if (!isIdentifier(header.origin)) throw refused(`"${header.origin}" is not a valid replica id`);
  if (!isCounter(header.firstCounter))
    throw refused(`${header.firstCounter} is not a valid transaction counter`);
  if (!isNatural(header.epoch)) throw refused(`${header.epoch} is not a valid epoch`);
  if (!isHybridTime(header.time)) throw refused(`${header.time} is not a valid hybrid time`);
  if (!isNatural(header.schemaVersion))
    throw refused(`${header.schemaVersion} is not a valid schema version`);
  writer.writeArrayHeader(BATCH_FIELDS);
  writer.writeInteger(FORMAT_VERSION);
  writer.writeText(header.origin);
  writer.writeInteger(header.firstCounter);
  writer.writeInteger(header.epoch);
  writer.writeInteger(header.time);
  writeContext(writer, header.context, limits);
  writer.writeInteger(header.schemaVersion);
}

/** In ascending order of the origins, so that equal vectors are equal bytes. */
function writeContext(writer: ValueWriter, context: VectorClock, limits: CodecLimits): void {
  const origins = Object.keys(context);
  if (origins.length > limits.maxOrigins) {
    throw new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `A context names ${origins.length} origins, and the limit is ${limits.maxOrigins}.`,
    );
  }
  if (origins.length > 1) origins.sort();
  writer.writeMapHeader(origins.length);
  for (const origin of origins) {
    const counter = counterOf(context, origin);
    if (!isIdentifier(origin) || !isCounter(counter))
      throw refused(`${origin}:${counter} is not a valid part of a context`);
    writer.writeText(origin);
    writer.writeInteger(counter);
  }
}

/** Throws UNSUPPORTED_FORMAT for another format version, MALFORMED_MESSAGE for anything else. */
export function readHead(reader: ValueReader): BatchHead {
  const fields = reader.readArrayLength('a batch');
  if (fields === 0) throw reader.malformed('a batch is empty');
  const version = reader.readCount('the format version');
  const synchronous = version === SYNC_FORMAT_VERSION;
  if (version !== FORMAT_VERSION && !synchronous) {
    throw new AntiphonError(
      'UNSUPPORTED_FORMAT',
      `The message has format version ${version}, and this build reads versions ${FORMAT_VERSION} and ${SYNC_FORMAT_VERSION}. Upgrade this replica.`,
      { context: { version } },
    );
  }
  const expected = synchronous ? SYNC_BATCH_FIELDS : BATCH_FIELDS;
  if (fields !== expected) throw reader.malformed(`a batch has ${fields} fields instead of ${expected}`);
  const origin = readIdentifier(reader);
  const firstCounter = readCounter(reader);
  const epoch = reader.readCount('an epoch');
  const time = reader.readCount('a hybrid time');
  if (time > MAX_HYBRID_TIME) throw reader.malformed(`hybrid time ${time} is beyond the year 2255`);
  return { synchronous, origin, firstCounter, epoch, time };
}

/**
 * Turns a written head into that of a synchronous group: only the number of fields and the version
 * differ, one byte each.
 */
export function makeSynchronous(message: Uint8Array): void {
  message[0] = 0x90 | SYNC_BATCH_FIELDS;
  message[1] = SYNC_FORMAT_VERSION;
}

export function readContext(reader: ValueReader, limits: CodecLimits): VectorClock {
  const count = reader.readMapLength('a context');
  if (count > limits.maxOrigins)
    throw reader.malformed(`a context names ${count} origins, the limit is ${limits.maxOrigins}`);
  const context: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const origin = readIdentifier(reader);
    if (Object.hasOwn(context, origin)) throw reader.malformed(`a context names "${origin}" twice`);
    context[origin] = readCounter(reader);
  }
  return context;
}

function readCounter(reader: ValueReader): number {
  const counter = reader.readCount('a counter');
  if (counter < 1) throw reader.malformed('a counter is 0');
  return counter;
}

function readIdentifier(reader: ValueReader): string {
  const id = reader.readText(MAX_IDENTIFIER_BYTES);
  if (!isIdentifier(id)) throw reader.malformed('an origin is not a valid replica id');
  return id;
}

function isNatural(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isCounter(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

function isHybridTime(value: number): boolean {
  return isNatural(value) && value <= MAX_HYBRID_TIME;
}

function refused(why: string): AntiphonError {
  return new AntiphonError('MALFORMED_MESSAGE', `This batch cannot be written: ${why}.`);
}
