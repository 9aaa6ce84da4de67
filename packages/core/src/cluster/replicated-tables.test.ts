import { expect, it } from 'vitest';
import { REQUESTS_TABLE } from '../model/requests-table.js';
import { replicatedNames } from './replicated-tables.js';

const tables = [{ name: 'cities' }, { name: 'Orders' }, { name: REQUESTS_TABLE }];
const named = (...names: string[]) => replicatedNames(names, tables, 'Replica eu-1');

it('tables are named as they are called in the cluster', () => {
  expect(named('CITIES', 'orders')).toEqual(['cities', 'Orders']);
});

it('one that stalls is found, whoever made it', () => {
  expect(named(REQUESTS_TABLE)).toEqual([REQUESTS_TABLE]);
});

it.each([
  ['citis', 'It replicates cities, Orders. Did you mean "cities"?'],
  ['nope', 'It replicates cities, Orders. Correct the name.'],
])('of those that users made, %s is none', (name, rest) => {
  const message = `Replica eu-1 does not replicate table ${name}. ${rest}`;
  expect(() => named(name)).toThrow(expect.objectContaining({ code: 'UNKNOWN_TABLE', message }) as Error);
});
