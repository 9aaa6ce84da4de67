import type { ComponentChildren } from 'preact';

export interface Column<R> {
  readonly title: string;
  readonly align?: 'right';
  readonly cell: (row: R) => ComponentChildren;
  /** What names the row. */
  readonly isName?: true;
}

interface TableProps<R> {
  readonly caption: string;
  readonly columns: readonly Column<R>[];
  readonly rows: readonly R[];
  readonly keyOf: (row: R) => string | number;
}

/** Scrolls sideways where it is too wide; then the keyboard reaches it. */
export function Table<R>({ caption, columns, rows, keyOf }: TableProps<R>) {
  return (
    <div class="scrolls" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, align }) => (
              <th key={title} scope="col" class={align}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ title, align, cell, isName }) =>
                isName === true ? (
                  <th key={title} scope="row" class={align}>
                    {cell(row)}
                  </th>
                ) : (
                  <td key={title} class={align}>
                    {cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
