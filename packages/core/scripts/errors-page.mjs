// Writes docs/errors.md from the table of codes: `npm run docs:errors --workspace packages/core`.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const PAGE = fileURLToPath(new URL('../../../docs/errors.md', import.meta.url));

const OPERATIONS = fileURLToPath(new URL('../../../docs/operations.md', import.meta.url));

const HEADINGS = ['code', 'retriable', 'what it means', 'what to do'];

/** The codes of which docs/operations.md has a section. */
export function codesWithSection(operations = readFileSync(OPERATIONS, 'utf8')) {
  return new Set([...operations.matchAll(/^### `([A-Z_]+)`$/gm)].map(([, code]) => code));
}

/** The page as text; a test compares it with what is in the repository. */
export function renderErrorsPage(codes, sections = codesWithSection()) {
  const rows = Object.entries(codes).map(([code, { retriable, means, do: what }]) => [
    sections.has(code) ? `[\`${code}\`](operations.md#${code.toLowerCase()})` : `\`${code}\``,
    retriable ? 'yes' : 'no',
    means,
    what,
  ]);
  return `# Error codes

<!-- Generated from packages/core/src/errors/codes.ts by packages/core/scripts/errors-page.mjs. Do not edit. -->

Everything that Antiphon throws or answers is an \`AntiphonError\` with one of these codes, a message that says what
happened, the \`context\` that an operator needs (cluster, replica, table, position…), and the \`cause\` where there is one.
Codes are stable: match on \`code\`, not on the message. Retriable: the same call, unchanged, may succeed later; an error can
say otherwise for itself in its \`retriable\` property. A code that is a link has a section in
[operations.md](operations.md), which \`antiphon explain CODE\` prints; an error of the command has the advice of this table
where its message has none.

${renderTable([HEADINGS, ...rows])}
`;
}

/** Padded as Prettier pads it, so that formatting the repository leaves the page as it is. */
function renderTable([headings, ...rows]) {
  const widths = headings.map((_, column) =>
    Math.max(...[headings, ...rows].map((row) => row[column].length)),
  );
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { ERROR_CODES } = await import('../dist/index.js');
  writeFileSync(PAGE, renderErrorsPage(ERROR_CODES));
}
