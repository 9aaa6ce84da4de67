import { expect, it } from 'vitest';
import { foldName, isSameName } from './sql-name.js';

it('names are the same as SQLite takes them for the same: without case, in ASCII', () => {
  expect(foldName('Order_Lines')).toBe('order_lines');
  expect(isSameName('ORDERS', 'orders')).toBe(true);
  expect(isSameName('Ärger', 'ärger')).toBe(false);
  expect(isSameName('K', '\u212a')).toBe(false);
  expect(isSameName('a', 'b')).toBe(false);
});
