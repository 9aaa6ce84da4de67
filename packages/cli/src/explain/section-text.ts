import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import type { Section } from './operations-page.js';

const FENCE = /^```/;
/** An item of a list. */
const ITEM = /^\s*(?:[-*]|\d+\.|\|)\s+/;
const LABEL = /\*\*([^*]+)\*\*/g;
const LINK = /\[([^\]]+)\]\(([^)]+)\)/g;

/** A section for a terminal: what is seen stands apart, and links say where they lead. */
export function sectionText(
  { kind, name, text }: Section,
  terminal: Pick<Terminal, 'color' | 'interactive' | 'columns'>,
): string {
  const width = terminal.interactive ? terminal.columns : Infinity;
  const styledText = (block: string): string =>
    block.replaceAll(LABEL, (_, words: string) => styled(terminal, 'bold', words));
  const blocks = blocksOf(text).flatMap(({ isSeen, lines }) => {
    if (isSeen) return lines.map((line) => `    ${styled(terminal, 'dim', line)}`);
    const linked = lines.map((line) =>
      line.replaceAll(LINK, (_, words: string, target: string) => linkText(words, target)),
    );
    return styledText(width === Infinity ? linked.join('\n') : wrapped(linked, width));
  });
  const title = kind === 'error' ? `The error ${name}` : `The ${kind} ${name}`;
  return `${styled(terminal, 'bold', title)}\n\n${blocks.join('\n')}\n`;
}

/** Lines that go together: a paragraph, an item of a list, or what is seen as it is. */
interface Block {
  readonly isSeen: boolean;
  readonly lines: string[];
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let isSeen = false;
  for (const line of text.split('\n')) {
    if (FENCE.test(line)) {
      isSeen = !isSeen;
      if (isSeen) blocks.push({ isSeen, lines: [] });
      continue;
    }
    const last = blocks.at(-1);
    const goesOn = last !== undefined && last.isSeen === isSeen && (isSeen || continues(last, line));
    if (goesOn) last.lines.push(line);
    else blocks.push({ isSeen, lines: [line] });
  }
  return blocks;
}

function continues({ lines }: Block, line: string): boolean {
  return line.trim() !== '' && lines.at(-1)?.trim() !== '' && !ITEM.test(line);
}

/** As one paragraph, behind the mark of its list. */
function wrapped(lines: readonly string[], width: number): string {
  const [first = ''] = lines;
  const mark = ITEM.exec(first)?.[0] ?? '';
  const words = [first.slice(mark.length), ...lines.slice(1)]
    .join(' ')
    .split(/\s+/)
    .filter((word) => word !== '');
  const rows: string[] = [];
  for (const word of words) {
    const row = rows.at(-1);
    if (row !== undefined && mark.length + row.length + 1 + word.length <= width)
      rows[rows.length - 1] = `${row} ${word}`;
    else rows.push(word);
  }
  const indent = ' '.repeat(mark.length);
  return rows.length === 0 ? first : rows.map((row, index) => (index === 0 ? mark : indent) + row).join('\n');
}

function linkText(words: string, target: string): string {
  if (target.startsWith('#'))
    return `${words} (antiphon explain ${target.replace(/^#(alarm|state)-|^#/, '')})`;
  const [page = ''] = target.split('#');
  return words === page ? `docs/${page}` : `${words} (docs/${page})`;
}
