import { ReadPlaces } from '../read/read-places.js';
import type { Inside } from './replica.js';

const places = new WeakMap<Inside['scope'], ReadPlaces>();

/** The places of what is read by way of this replica: reads that end together share a look. */
export function placesOf({ scope, replica: actor }: Inside): ReadPlaces {
  const known =
    places.get(scope) ?? new ReadPlaces(scope, (timeoutMs) => actor.ask('seal', undefined, { timeoutMs }));
  places.set(scope, known);
  return known;
}
