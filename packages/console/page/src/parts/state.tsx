import type { Tone } from '../model/condition.js';

/** Shapes as well as colours: whoever does not tell red from green sees which it is. */
const MARKS: Readonly<Record<Tone, string>> = {
  good: 'M5 1.2a3.8 3.8 0 1 1 0 7.6a3.8 3.8 0 1 1 0-7.6z',
  busy: 'M5 1.2a3.8 3.8 0 1 1 0 7.6z',
  bad: 'M5 0.8 9.6 9H0.4z',
  away: 'M1.6 4.2h6.8v1.6H1.6z',
};

export function Mark({ tone }: { readonly tone: Tone }) {
  return (
    <svg class={`mark ${tone}`} viewBox="0 0 10 10" aria-hidden="true">
      {tone === 'busy' && <circle cx="5" cy="5" r="3.3" class="ring" />}
      <path d={MARKS[tone]} />
    </svg>
  );
}

export function State({ tone, word }: { readonly tone: Tone; readonly word: string }) {
  return (
    <span class={`state ${tone}`}>
      <Mark tone={tone} />
      {word}
    </span>
  );
}

export function Tag({ tone, children }: { readonly tone: Tone | 'accent'; readonly children: string }) {
  return <span class={`tag ${tone}`}>{children}</span>;
}
