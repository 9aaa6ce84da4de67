import {
  TaggedValue,
  type Batch,
  type Change,
  type ClaimSpace,
  type Row,
  type SyncSection,
  type Value,
  type ValueTag,
} from '../src/index.js';

/** The JSON that docs/wire.md writes its test vectors in; explained there. */
export type WireValue =
  | null
  | boolean
  | string
  | { readonly int: string }
  | { readonly float: string }
  | { readonly bytes: string }
  | { readonly tag: ValueTag; readonly bytes: string };

type WireChange =
  | readonly ['insert' | 'delete', number, readonly WireValue[], number?]
  | readonly ['update', number, readonly WireValue[], readonly number[], readonly WireValue[], number?];

interface WireBatch {
  readonly origin: string;
  readonly firstCounter: number;
  readonly epoch: number;
  readonly time: number;
  readonly context: Record<string, number>;
  readonly schemaVersion: number;
  readonly tables: readonly { name: string; columns: readonly string[]; key: readonly number[] }[];
  readonly part?: readonly [number, boolean];
  readonly body?: string;
  readonly transactions?: readonly { readonly time: number; readonly changes: readonly WireChange[] }[];
  readonly sync?: SyncSection;
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(/;.*$/gm, '').replaceAll(/\s/g, ''), 'hex'));
}

export function valueOf(written: WireValue): Value {
  if (written === null || typeof written !== 'object') return written;
  if ('int' in written) return BigInt(written.int);
  if ('float' in written) return Number(written.float);
  const bytes = fromHex(written.bytes);
  return 'tag' in written ? new TaggedValue(written.tag, bytes) : bytes;
}

function rowOf(written: readonly WireValue[]): Row {
  return written.map(valueOf);
}

function changeOf(written: WireChange): Change {
  const [op, table, row] = written;
  const earlierUs = op === 'update' ? written[5] : written[3];
  const time = earlierUs === undefined ? {} : { earlierUs };
  if (op !== 'update') return { op, table, row: rowOf(row), ...time };
  return { op, table, row: rowOf(row), changed: written[3], before: rowOf(written[4]), ...time };
}

export function batchOf(written: WireBatch): Batch {
  const { part, body, transactions, ...header } = written;
  if (part !== undefined) {
    return { kind: 'part', ...header, offset: part[0], last: part[1], body: fromHex(body ?? '') };
  }
  return {
    kind: 'transactions',
    ...header,
    transactions: (transactions ?? []).map(({ time, changes }, index) => ({
      counter: header.firstCounter + index,
      time,
      changes: changes.map(changeOf),
    })),
  };
}

export interface WireVector {
  readonly name: string;
  readonly batches: readonly Batch[];
  readonly data: Uint8Array;
}

/** Every `json` block that is followed by a `hex` block, under the last heading before it. */
export function vectorsIn(markdown: string): readonly WireVector[] {
  const vectors: WireVector[] = [];
  for (const section of markdown.split(/^#+ /m)) {
    const found = /```json\n([\s\S]*?)```\s+```hex\n([\s\S]*?)```/.exec(section);
    if (found === null) continue;
    vectors.push({
      name: section.slice(0, section.indexOf('\n')),
      batches: (JSON.parse(found[1] ?? '') as WireBatch[]).map(batchOf),
      data: fromHex(found[2] ?? ''),
    });
  }
  return vectors;
}

export interface ClaimExample {
  readonly space: ClaimSpace;
  readonly table: string;
  readonly values: readonly WireValue[];
  /** Hex. */
  readonly encoded: string;
  readonly exclusive: number;
}

/**
 * Rows of the table of claims: space, table, values as JSON, the bytes that are hashed, the
 * exclusive claim.
 */
export function claimExamplesIn(markdown: string): readonly ClaimExample[] {
  const row = /^\| `(row|unique|reference)` +\| `(.*?)` +\| `(.*?)` +\| `([0-9a-f]*)` +\| (\d+) +\|$/gm;
  return [...markdown.matchAll(row)].map(
    ([, space = '', table = '', values = '', encoded = '', claim = '']) => ({
      space: space as ClaimSpace,
      table,
      values: JSON.parse(values) as WireValue[],
      encoded,
      exclusive: Number(claim),
    }),
  );
}

/** Rows of the table of refused messages: hex, error code, reason. */
export function refusedIn(markdown: string): readonly { data: Uint8Array; code: string; why: string }[] {
  const row = /^\| `([0-9a-f]*)` +\| `([A-Z_]+)` +\| (.*?) +\|$/gm;
  return [...markdown.matchAll(row)].map(([, hex = '', code = '', why = '']) => ({
    data: fromHex(hex),
    code,
    why,
  }));
}
