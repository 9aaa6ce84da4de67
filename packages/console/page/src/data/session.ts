import { Store } from './store.js';

/**
 * The token of this tab. It is no cookie, so that no page of somebody else can use it, and it is
 * forgotten with the tab.
 */
const KEY = 'antiphon.token';

export const token = new Store<string | undefined>(sessionStorage.getItem(KEY) ?? undefined);

export function keepToken(text: string | undefined): void {
  if (text === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, text);
  // Also the same one is tried again.
  token.set(undefined);
  token.set(text);
}
