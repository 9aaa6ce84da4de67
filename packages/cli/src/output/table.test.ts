import { expect, it } from 'vitest';
import { formatTable } from './table.js';

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
