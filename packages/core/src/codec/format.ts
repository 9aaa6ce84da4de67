import type { ValueTag } from '../model/value.js';

/** The numbers of the wire format; `docs/wire.md` explains them. */
export const FORMAT_VERSION = 1;

/** Of a synchronous group: version 1 with a sync section behind it. */
export const SYNC_FORMAT_VERSION = 2;

/** Elements of a batch array. */
export const BATCH_FIELDS = 11;
export const SYNC_BATCH_FIELDS = 12;

export const OP_INSERT = 0;
export const OP_UPDATE = 1;
export const OP_DELETE = 2;

/** MessagePack ext types of tagged values. */
export const EXT_TYPE_OF_TAG: ReadonlyMap<ValueTag, number> = new Map([
  ['raw-text', 1],
  ['decimal', 2],
  ['datetime', 3],
  ['json', 4],
  ['uuid', 5],
]);

export const TAG_OF_EXT_TYPE: ReadonlyMap<number, ValueTag> = new Map(
  [...EXT_TYPE_OF_TAG].map(([tag, type]) => [type, tag]),
);
