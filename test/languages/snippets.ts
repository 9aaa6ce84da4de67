import { readFileSync } from 'node:fs';

/** The only block of code of a page that is in this language and has this text. */
export function snippet(page: string, language: string, containing: string): string {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const blocks = Array.from(text.matchAll(/^```(\w+)\n([^]*?)^```/gm), ([, name, code = '']) => ({
    name,
    code,
  }));
  const found = blocks.filter(({ name, code }) => name === language && code.includes(containing));
  const [only] = found;
  if (found.length !== 1 || only === undefined)
    throw new Error(
      `docs/${page} has ${found.length} blocks in ${language} with ${containing}, and not one.`,
    );
  return only.code;
}
