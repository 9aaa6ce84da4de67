/** Wider cells are cut: a table is for reading, `--json` has everything. */
const MAX_CELL_WIDTH = 60;

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/**
 * Rows under titles, columns padded; cells may hold colours (they have no width). Ends with a line
 * feed.
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((_, index) => printable(row[index] ?? '')));
  const widths = columns.map(({ title }, index) =>
    cells.reduce((widest, row) => Math.max(widest, visibleWidth(row[index] ?? '')), visibleWidth(title)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align ?? 'left'))
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...cells.map(line)].map((text) => `${text}\n`).join('');
}

function pad(cell: string, width: number, align: 'left' | 'right'): string {
  const gap = ' '.repeat(Math.max(0, width - visibleWidth(cell)));
  return align === 'right' ? gap + cell : cell + gap;
}

const STYLE_CODES = /\u001b\[\d+m/g;

const CONTROL = /[\u0000-\u001a\u001c-\u001f\u007f\u0080-\u009f]|\u001b(?!\[\d+m)/g;

function visibleWidth(text: string): number {
  return Array.from(text.replace(STYLE_CODES, '')).length;
}

function printable(text: string): string {
  const safe = text.replace(CONTROL, (character) => (character === '\n' ? '␊' : '␦'));
  const letters = Array.from(safe);
  if (safe.includes('\u001b') || letters.length <= MAX_CELL_WIDTH) return safe;
  return `${letters.slice(0, MAX_CELL_WIDTH - 1).join('')}…`;
}
