import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import type { Section } from './operations-page.js';

const FENCE = /^```/;
const LABEL = /\*\*([^*]+)\*\*/g;
const LINK = /\[([^\]]+)\]\(([^)]+)\)/g;

/** A section for a terminal: what is seen stands apart, and links say where they lead. */
export function sectionText({ kind, name, text }: Section, terminal: Pick<Terminal, 'color'>): string {
  let isSeen = false;
  const lines = text.split('\n').flatMap((line) => {
    if (FENCE.test(line)) {
      isSeen = !isSeen;
      return [];
    }
    if (isSeen) return [`    ${styled(terminal, 'dim', line)}`];
    const linked = line.replaceAll(LINK, (_, words: string, target: string) => linkText(words, target));
    return [linked.replaceAll(LABEL, (_, words: string) => styled(terminal, 'bold', words))];
  });
  const title = kind === 'error' ? `The error ${name}` : `The ${kind} ${name}`;
  return `${styled(terminal, 'bold', title)}\n\n${lines.join('\n')}\n`;
}

function linkText(words: string, target: string): string {
  if (target.startsWith('#'))
    return `${words} (antiphon explain ${target.replace(/^#(alarm|state)-|^#/, '')})`;
  const [page = ''] = target.split('#');
  return words === page ? `docs/${page}` : `${words} (docs/${page})`;
}
