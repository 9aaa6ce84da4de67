import type { JsonValue } from '../data/cluster.js';
import { bytes } from '../model/format.js';

/** A value of a database, as SQL shows it; bytes and cut values say how long they are. */
export function Value({ value }: { readonly value: JsonValue | undefined }) {
  if (value === undefined) return <span class="nothing">none</span>;
  if (value === null) return <span class="nothing">NULL</span>;
  if (typeof value === 'number') return <span class="number">{value}</span>;
  if (typeof value === 'string') return <span class="text">{value}</span>;
  if ('start' in value)
    return (
      <span class="text">
        <Value value={value.start} />… <span class="nothing">({value.length} in all)</span>
      </span>
    );
  if ('real' in value) return <span class="number">{value.real}</span>;
  if ('integer' in value) return <span class="number">{value.integer}</span>;
  const size = Math.floor((value.base64.length * 3) / 4);
  return (
    <span class="nothing">
      BLOB, {bytes(size)}: {value.base64.slice(0, 24)}
      {value.base64.length > 24 ? '…' : ''}
    </span>
  );
}

/** For comparing: two values that are shown alike are alike. */
export function sameValue(one: JsonValue | undefined, other: JsonValue | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
