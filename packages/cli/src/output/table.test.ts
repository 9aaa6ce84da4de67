import { expect, it } from 'vitest';
import { formatTable, type Column } from './table.js';

it('aligns columns, cuts long cells and shows control characters', () => {
  const text = formatTable(
    [{ title: 'name' }, { title: 'rows', align: 'right' }],
    [
      ['a', '1'],
      ['x\ny\u001b[2J', '12345'],
      ['l'.repeat(100), '2'],
    ],
  );
  const lines = text.split('\n');
  expect(lines[1]).toMatch(/^a +1$/);
  expect(lines[2]).toMatch(/^x␊y␦\[2J +12345$/);
  expect(lines[3]).toContain('l…');
  expect(text).not.toContain('\u001b');
});

const COLUMNS: readonly Column[] = [
  { title: 'replica' },
  { title: 'state' },
  { title: 'entries', align: 'right' },
  { title: 'conflicts', align: 'right', spare: 'zero' },
  { title: 'up', align: 'right', spare: 'always' },
];
const ROW = ['eu-1', '\u001b[32mfollowing the primary\u001b[39m', '1234567', '0', '12 min'];
const on = (columns: number) => ({ interactive: true, columns });
const visible = (text: string): readonly string[] => text.replaceAll(/\u001b\[\d+m/g, '').split('\n');

it.each([
  [60, ['replica  state                  entries  conflicts      up']],
  [50, ['replica  state                  entries      up']],
  [40, ['replica  state                  entries']],
  [34, ['replica  state             entries']],
])('leaves out spare columns and cuts cells for a terminal of %d columns', (columns, [titles]) => {
  const lines = visible(formatTable(COLUMNS, [ROW], on(columns)));
  expect(lines[0]).toBe(titles);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
});

it('cuts no number, and ends the colour of a cell that it cuts', () => {
  const text = formatTable(COLUMNS, [ROW], on(34));
  expect(text).toContain('\u001b[32mfollowing the p…\u001b[39m  1234567\n');
});

it('keeps a spare column that has something to say', () => {
  const row = ROW.map((cell, index) => (index === 3 ? '7' : cell));
  expect(visible(formatTable(COLUMNS, [row], on(50)))[0]).toBe(
    'replica  state                  entries  conflicts',
  );
});

it('shows each row as a block where a line has no room for it', () => {
  const lines = visible(formatTable(COLUMNS, [ROW, ROW], on(25)));
  const block = [
    'replica    eu-1',
    'state      following the primary',
    'entries    1234567',
    'conflicts  0',
    'up         12 min',
  ];
  expect(lines).toEqual([...block, '', ...block, '']);
});

it('is as wide as it is in a pipe', () => {
  const lines = visible(formatTable(COLUMNS, [ROW], { interactive: false, columns: 20 }));
  expect(lines[1]).toBe('eu-1     following the primary  1234567          0  12 min');
});
