import { type ConflictDetails, isRecord, TaggedValue } from '@antiphon/core';

/** Of a value that is shown. */
const MAX_LENGTH = 4096;
/** Columns of a key. */
const MAX_VALUES = 64;

/** What a ConflictError is about, as plain data: whoever wrote decides by it what to do. */
export function conflictToWire({ table, key, winner }: ConflictDetails): Readonly<Record<string, unknown>> {
  return {
    ...(table !== undefined && { table: table.slice(0, MAX_LENGTH) }),
    ...(key && { key: key.slice(0, MAX_VALUES).map(valueToWire) }),
    ...(winner && { winner: { origin: winner.origin, counter: winner.counter } }),
  };
}

/** What cannot be read is left out. */
export function conflictFromWire(input: unknown): ConflictDetails {
  const { table, key, winner } = isRecord(input) ? input : {};
  const { origin, counter } = isRecord(winner) ? winner : {};
  return {
    ...(typeof table === 'string' && { table }),
    ...(Array.isArray(key) && { key: key.map(valueFromWire) }),
    ...(typeof origin === 'string' && typeof counter === 'number' && { winner: { origin, counter } }),
  };
}

function valueToWire(value: unknown): unknown {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.slice(0, MAX_LENGTH);
  if (value instanceof TaggedValue) return { tag: value.tag, bytes: value.bytes.slice(0, MAX_LENGTH) };
  return ['bigint', 'number', 'boolean'].includes(typeof value) ? value : null;
}

function valueFromWire(input: unknown): unknown {
  if (!isRecord(input)) return input;
  const { tag, bytes } = input as Partial<TaggedValue>;
  return tag !== undefined && bytes instanceof Uint8Array ? new TaggedValue(tag, bytes) : null;
}
