import type { JsonValue, RescuedChange } from '../data/cluster.js';
import { counted } from '../model/format.js';
import { sameValue, Value } from '../parts/value.js';

/** What is neither as before nor as after was changed by somebody else. */
function nowClass(
  was: JsonValue | undefined,
  made: JsonValue | undefined,
  is: JsonValue | undefined,
): string {
  if (sameValue(is, was)) return '';
  return sameValue(is, made) ? 'same' : 'other';
}

/** Says what of a wide row is not shown. */
export function MoreColumns({ count = 0 }: { readonly count: number | undefined }) {
  return count > 0 && <p class="quiet">Of this row, {counted(count, 'more column')} did not fit.</p>;
}

/** One row side by side: before a transaction, after it, and as it is now. */
export function Versions({ change }: { readonly change: RescuedChange }) {
  const { table, op, key, columns, before, after, here } = change;
  const name = `${op} in ${table}, key ${key.map((value) => JSON.stringify(value)).join(', ')}`;
  return (
    <div class="scrolls versions" role="region" aria-label={name} tabIndex={0}>
      <table>
        <caption>
          <span class={`op ${op}`}>{op}</span> in <strong>{table}</strong>, key{' '}
          {key.map((value, index) => (
            <code key={index}>
              <Value value={value} />
            </code>
          ))}
        </caption>
        <thead>
          <tr>
            <th scope="col">column</th>
            <th scope="col">before</th>
            <th scope="col">after</th>
            <th scope="col">now</th>
          </tr>
        </thead>
        <tbody>
          {columns.map((column, index) => {
            const [was, made, is] = [before?.[index], after?.[index], here?.[index]];
            return (
              <tr key={column}>
                <th scope="row">{column}</th>
                <td>
                  <Value value={was} />
                </td>
                <td class={sameValue(was, made) ? '' : 'changed'}>
                  <Value value={made} />
                </td>
                <td class={nowClass(was, made, is)}>
                  <Value value={is} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <MoreColumns count={change.moreColumns} />
    </div>
  );
}
