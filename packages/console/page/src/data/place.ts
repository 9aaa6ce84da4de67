import { Store } from './store.js';

/** What the page shows, from the part of its address behind `#`. */
export interface Place {
  readonly view: string;
  /** For example the id of a replica. */
  readonly argument?: string;
}

export function placeOf(hash: string): Place {
  const [view = '', argument] = hash.replace(/^#\/?/, '').split('/').map(decoded);
  return { view: view === '' ? 'overview' : view, ...(argument !== undefined && { argument }) };
}

export function addressOf({ view, argument }: Place): string {
  return `#/${view}${argument === undefined ? '' : `/${encodeURIComponent(argument)}`}`;
}

export const place = new Store<Place>(placeOf(location.hash));
addEventListener('hashchange', () => place.set(placeOf(location.hash)));

/** An address that somebody typed need not be one. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
