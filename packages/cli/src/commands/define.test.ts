import { expect, it } from 'vitest';
import { commaList } from './define.js';

it.each([
  ['a', ['a']],
  ['a, b ,c d', ['a', 'b', 'c d']],
  ['"a,b",c', ['a,b', 'c']],
  ['"say ""hi""", x', ['say "hi"', 'x']],
])('a list of names: %s', (text, names) => {
  expect(commaList(text)).toEqual(names);
});

it('goes on where the option is repeated', () => {
  expect(commaList('c', commaList('"a,b"'))).toEqual(['a,b', 'c']);
});

it.each(['', ',', 'a,', ',a', 'a,,b', ' , ', '"a', '""', '"a"b'])('refuses %j', (text) => {
  expect(() => commaList(text)).toThrow(/names separated by commas/);
});
