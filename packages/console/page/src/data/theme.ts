import { Store } from './store.js';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'antiphon.theme';
const kept = THEMES.find((one) => one === localStorage.getItem(KEY));

export const theme = new Store<Theme>(kept ?? 'system');

export function chooseTheme(chosen: Theme): void {
  localStorage.setItem(KEY, chosen);
  show(chosen);
  theme.set(chosen);
}

/** Styles and charts go by this attribute, and by the system where it is absent. */
export function show(chosen: Theme): void {
  if (chosen === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = chosen;
}
