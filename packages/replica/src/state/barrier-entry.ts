import type { AppendRequest } from '@antiphon/core';

/** The origin of these records in the log. They say nothing: their place is what counts. */
export const BARRIER_ORIGIN = '_barrier';
const NOTHING = new Uint8Array([0xc0]);

/** `number`: of all of this process. */
export function barrierEntry(
  { id, instance }: { readonly id: string; readonly instance: string },
  number: number | string,
): Pick<AppendRequest, 'origin' | 'id' | 'data'> {
  return { origin: BARRIER_ORIGIN, id: `barrier-${id}-${instance}${number}`, data: NOTHING };
}
