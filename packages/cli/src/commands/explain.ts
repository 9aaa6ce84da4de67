import { readFileSync } from 'node:fs';
import { alarmSection, AntiphonError, ERROR_CODES, type ErrorCode, suggest } from '@antiphon/core';
import { type Section, slugOf } from '../explain/operations-page.js';
import { sectionText } from '../explain/section-text.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { styled } from '../output/style.js';
import type { Terminal } from '../output/terminal.js';
import { defineCommand, type CommandHost } from './define.js';

const KINDS = [
  ['alarm', 'alarms'],
  ['state', 'states'],
  ['error', 'errors'],
] as const;

/** `antiphon explain NAME`: what to do about an alarm, a state or an error, without a network. */
export function defineExplain(host: CommandHost): void {
  defineCommand(host, {
    name: 'explain',
    description: 'what an alarm, a state or an error means, and what to do about it',
    examples: ['antiphon explain', 'antiphon explain publish holding', 'antiphon explain STORE_FULL'],
    configure: (command) =>
      void command.argument('[name...]', 'as `antiphon status` or an error has it (default: list all)'),
    run: (_, { terminal }, names) => {
      const all = sections();
      if (names.length === 0) list(all, terminal);
      else
        show(
          names.map((name) => found(name, all)),
          terminal,
        );
      return Promise.resolve(EXIT.ok);
    },
  });
}

/** Made from docs/operations.md, which is not in the package. */
function sections(): readonly Section[] {
  const file = new URL('../../pages/operations.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as readonly Section[];
}

function found(name: string, all: readonly Section[]): Section {
  const slug = slugOf(name);
  const anchors = [slug, `state-${slug}`, alarmSection(slug.replace(/^(clock|denied)-/, '$1 '))];
  const section = all.find(({ anchor }) => anchors.includes(anchor)) ?? ofCode(name.toUpperCase());
  if (section !== undefined) return section;
  const known = [...all.map((one) => (one.kind === 'error' ? one.name : slugOf(one.name)))];
  throw new AntiphonError('BAD_OPTION', `Nothing is called "${name}". ${suggest(name, known)}`);
}

/** One on which an operator cannot act has no section. */
function ofCode(name: string): Section | undefined {
  if (!Object.hasOwn(ERROR_CODES, name)) return undefined;
  const { means, do: advice } = ERROR_CODES[name as ErrorCode];
  return { kind: 'error', name, anchor: '', text: `- **Means:** ${means}\n- **Do:** ${advice}` };
}

function show(chosen: readonly Section[], terminal: Terminal): void {
  if (terminal.json) terminal.out(`${toJson({ sections: chosen })}\n`);
  else terminal.out(chosen.map((section) => sectionText(section, terminal)).join('\n'));
}

function list(all: readonly Section[], terminal: Terminal): void {
  const named = KINDS.map(([kind, title]) => {
    const names = all.filter((one) => one.kind === kind).map(({ name }) => name);
    return { title, names: kind === 'error' ? names : names.map(slugOf) };
  });
  if (terminal.json) {
    terminal.out(`${toJson(Object.fromEntries(named.map(({ title, names }) => [title, names])))}\n`);
    return;
  }
  for (const { title, names } of named)
    terminal.out(`${styled(terminal, 'bold', title)}\n${names.map((name) => `  ${name}\n`).join('')}`);
}
