import { floatToJson } from '@antiphon/core';

/** Since V8 11.4; TypeScript does not know it yet. */
const { rawJSON } = JSON as typeof JSON & { rawJSON(text: string): unknown };

/** A float without a fraction, which `JSON.stringify` would write as an integer: 5.0, and not 5. */
export class WholeFloat {
  constructor(readonly value: number) {}

  toJSON(): unknown {
    return rawJSON(floatToJson(this.value));
  }
}
