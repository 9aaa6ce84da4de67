/**
 * One database value, with its exact type: `bigint` is a 64-bit integer, `number` is a float64
 * (also when it has no fraction), `string` is valid UTF-8 text (NUL allowed), `Uint8Array` is
 * bytes.
 */
export type Value = null | boolean | bigint | number | string | Uint8Array | TaggedValue;

/**
 * Values that plain types do not carry. `raw-text`: TEXT whose bytes are not valid UTF-8 (SQLite
 * allows it).
 */
export type ValueTag = 'raw-text' | 'decimal' | 'datetime' | 'json' | 'uuid';

export class TaggedValue {
  constructor(
    readonly tag: ValueTag,
    readonly bytes: Uint8Array,
  ) {}
}

/**
 * A parameter that is a float also where it has no fraction: `new Real(5)` is 5.0 in SQL. The plain
 * number 5 is an integer there.
 */
export class Real {
  constructor(readonly real: number) {}
}

/** What a placeholder of a statement stands for. */
export type Parameter = Value | Real;

/** A row: one value per replicated column, in the order of `TableSchema.columns`. */
export type Row = readonly Value[];
