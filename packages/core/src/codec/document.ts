import { AntiphonError } from '../errors/antiphon-error.js';
import { TaggedValue, type Value } from '../model/value.js';
import { isRecord } from './control.js';
import { DEFAULT_CODEC_LIMITS } from './limits.js';
import { ValueReader } from './value-reader.js';
import { ValueWriter } from './value-writer.js';

/** Nesting of lists and maps in a document. */
export const MAX_DOCUMENT_DEPTH = 32;

/** Lists, and maps with names, of values of a database. */
export type DocumentItem = Value | readonly DocumentItem[] | { readonly [name: string]: DocumentItem };

/**
 * One MessagePack item from a program elsewhere. Values are what `docs/wire.md` says: any int is a
 * bigint, any float a number, also 5.0. Bytes are views of `data`. Whoever takes it looks at its
 * shape. Throws MALFORMED_MESSAGE and MESSAGE_TOO_LARGE, before it allocates what is not there.
 */
export function decodeDocument(data: Uint8Array): DocumentItem {
  const reader = new ValueReader(data, DEFAULT_CODEC_LIMITS, 'MessagePack');
  const item = readItem(reader, MAX_DOCUMENT_DEPTH);
  if (reader.remaining > 0) throw reader.malformed(`${reader.remaining} bytes are left over`);
  return item;
}

function readItem(reader: ValueReader, depth: number): DocumentItem {
  if (reader.next === 'value') return reader.readValue();
  if (depth === 0) throw reader.malformed(`it is nested deeper than ${MAX_DOCUMENT_DEPTH} levels`);
  if (reader.next === 'list') {
    const items: DocumentItem[] = [];
    // Not an array of that length: lists in lists would each take as much as there are bytes left.
    for (let left = reader.readArrayLength('a list'); left > 0; left--)
      items.push(readItem(reader, depth - 1));
    return items;
  }
  const entries = new Map<string, DocumentItem>();
  for (let left = reader.readMapLength('a map'); left > 0; left--) {
    const name = reader.readText();
    if (entries.has(name)) throw reader.malformed('a map has a name twice');
    entries.set(name, readItem(reader, depth - 1));
  }
  return Object.fromEntries(entries);
}

/**
 * The same from JavaScript: a bigint is an int, a number a float. Properties that are `undefined`
 * are left out. Throws MALFORMED_MESSAGE for what is none of these.
 */
export function encodeDocument(item: unknown): Uint8Array {
  const writer = new ValueWriter();
  writeItem(writer, item, MAX_DOCUMENT_DEPTH);
  return writer.slice(0, writer.length);
}

function writeItem(writer: ValueWriter, item: unknown, depth: number): void {
  const isList = Array.isArray(item);
  if (!isList && (!isRecord(item) || item instanceof TaggedValue)) return writer.writeValue(item as Value);
  if (depth === 0) {
    const message = `A document is nested deeper than ${MAX_DOCUMENT_DEPTH} levels.`;
    throw new AntiphonError('MALFORMED_MESSAGE', message);
  }
  if (isList) writeList(writer, item, depth);
  else writeMap(writer, item, depth);
}

function writeList(writer: ValueWriter, items: readonly unknown[], depth: number): void {
  writer.writeArrayHeader(items.length);
  for (const item of items) writeItem(writer, item, depth - 1);
}

function writeMap(writer: ValueWriter, map: object, depth: number): void {
  const entries = Object.entries(map).filter(([, value]) => value !== undefined);
  writer.writeMapHeader(entries.length);
  for (const [name, value] of entries) {
    writer.writeText(name);
    writeItem(writer, value, depth - 1);
  }
}
