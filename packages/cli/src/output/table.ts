import type { Terminal } from './terminal.js';

/** Wider cells are cut: a table is for reading, `--json` has everything. */
const MAX_CELL_WIDTH = 60;
/** No cell is cut to less for a terminal that is too narrow. */
const MIN_CELL_WIDTH = 12;
const GAP = '  ';

export interface Column {
  readonly title: string;
  /** What stands right is a number, and never cut. */
  readonly align?: 'left' | 'right';
  /**
   * Left out of a terminal that is too narrow: `always`, or `zero`, where every cell is 0 or empty.
   * A column without it stays.
   */
  readonly spare?: 'always' | 'zero';
}

/** Where a table is shown; its width counts on a terminal only. */
export type TablePlace = Pick<Terminal, 'interactive' | 'columns'>;

interface Shown extends Column {
  readonly cells: readonly string[];
  readonly width: number;
}

/**
 * Rows under titles, columns padded; cells may hold colours (they have no width). Ends with a line
 * feed. On a terminal that is too narrow, spare columns are left out and long cells cut; where that
 * is not enough, each row becomes a block of lines, a line for each column.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  place?: TablePlace,
): string {
  const all = columns.map((column, index): Shown => {
    const cells = rows.map((row) => cut(printable(row[index] ?? ''), MAX_CELL_WIDTH));
    return { ...column, cells, width: widest([column.title, ...cells]) };
  });
  const room = place?.interactive === true ? place.columns : Number.POSITIVE_INFINITY;
  const fitting = narrowed(withoutSpare(all, room), room);
  return fitting === undefined ? blocks(all, rows.length) : lines(fitting, rows.length);
}

function lines(columns: readonly Shown[], rows: number): string {
  const line = (cellOf: (column: Shown) => string): string => {
    const cells = columns.map((column) => pad(cut(cellOf(column), column.width), column));
    return `${cells.join(GAP).trimEnd()}\n`;
  };
  const titles = line(({ title }) => title);
  const others = Array.from({ length: rows }, (_, row) => line(({ cells }) => cells[row] ?? ''));
  return [titles, ...others].join('');
}

function blocks(columns: readonly Shown[], rows: number): string {
  const width = widest(columns.map(({ title }) => title));
  const block = (row: number): string =>
    columns
      .map(({ title, cells }) => `${pad(title, { width })}${GAP}${cells[row] ?? ''}`.trimEnd())
      .join('\n');
  return Array.from({ length: rows }, (_, row) => `${block(row)}\n`).join('\n');
}

/** From the right; those that say nothing go first. */
function withoutSpare(columns: readonly Shown[], room: number): readonly Shown[] {
  const isQuiet = ({ spare, cells }: Shown): boolean =>
    spare !== undefined && cells.every((cell) => cell === '' || cell === '0');
  const order = [
    ...columns.filter(isQuiet).reverse(),
    ...columns.filter(({ spare }) => spare === 'always').reverse(),
  ];
  let kept = columns;
  for (const column of order) {
    if (widthOf(kept) <= room) return kept;
    kept = kept.filter((one) => one !== column);
  }
  return kept;
}

/** With the widest cells cut until the table fits; undefined where they would be too short. */
function narrowed(columns: readonly Shown[], room: number): readonly Shown[] | undefined {
  let kept = columns;
  for (;;) {
    const excess = widthOf(kept) - room;
    if (excess <= 0) return kept;
    const cuttable = kept.filter(({ align = 'left', width }) => align === 'left' && width > MIN_CELL_WIDTH);
    const [first] = cuttable;
    if (first === undefined) return undefined;
    const longest = cuttable.reduce((a, b) => (b.width > a.width ? b : a), first);
    const second = cuttable.reduce(
      (most, { width }) => (width < longest.width ? Math.max(most, width) : most),
      0,
    );
    const width = Math.max(longest.width - excess, second, MIN_CELL_WIDTH);
    kept = kept.map((one) => (one === longest ? { ...one, width: Math.min(width, longest.width - 1) } : one));
  }
}

function widthOf(columns: readonly Shown[]): number {
  return columns.reduce((sum, { width }) => sum + width, GAP.length * Math.max(0, columns.length - 1));
}

function widest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, visibleWidth(text)), 0);
}

function pad(cell: string, { width, align = 'left' }: Pick<Shown, 'width' | 'align'>): string {
  const gap = ' '.repeat(Math.max(0, width - visibleWidth(cell)));
  return align === 'right' ? gap + cell : cell + gap;
}

const STYLE_CODES = /\u001b\[\d+m/g;
/** A code, or a letter. */
const PIECES = /\u001b\[\d+m|[^]/gu;

const CONTROL = /[\u0000-\u001a\u001c-\u001f\u007f\u0080-\u009f]|\u001b(?!\[\d+m)/g;

function visibleWidth(text: string): number {
  return Array.from(text.replace(STYLE_CODES, '')).length;
}

function printable(text: string): string {
  return text.replace(CONTROL, (character) => (character === '\n' ? '␊' : '␦'));
}

/** Its colours stay whole, their ends included. */
function cut(text: string, width: number): string {
  if (visibleWidth(text) <= width) return text;
  let left = width;
  const pieces = (text.match(PIECES) ?? []).map((piece) => {
    if (piece.startsWith('\u001b')) return piece;
    left -= 1;
    if (left > 0) return piece;
    return left === 0 ? '…' : '';
  });
  return pieces.join('');
}
