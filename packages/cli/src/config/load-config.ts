import { readFileSync, statSync } from 'node:fs';
import { AntiphonError, withoutStop } from '@antiphon/core';
import { isMap, LineCounter, parseDocument, type Document, type YAMLParseError } from 'yaml';
import { resolveConfig, type Config } from './config.js';
import { expandEnvironment } from './expand-environment.js';
import { explainIssue } from './explain-issue.js';
import { refuseLaterFeatures } from './later-features.js';
import { configSchema } from './schema.js';

export const DEFAULT_CONFIG_FILE = 'antiphon.yaml';

/** Far above any real configuration; a larger file is something else. */
const MAX_CONFIG_BYTES = 1024 * 1024;
const MAX_ISSUES_SHOWN = 10;

/** @throws AntiphonError BAD_OPTION with the file, the line and what to write instead. */
export function loadConfig(path: string, env: NodeJS.ProcessEnv = process.env): Config {
  return parseConfig(readConfig(path), path, env);
}

/** As `loadConfig`, for a text that is already read; `path` is where relative file names start. */
export function parseConfig(text: string, path: string, env: NodeJS.ProcessEnv = process.env): Config {
  const lines = new LineCounter();
  // Pretty errors repeat the line, and with it the password that may stand there.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [syntaxError] = document.errors;
  if (syntaxError?.code === 'MULTIPLE_DOCS')
    throw invalid(path, 'has several documents. Remove the lines with `---`: a file is one replica.');
  if (syntaxError !== undefined) throw syntaxMistake(text, syntaxError, lines, path);
  if (document.contents === null) throw invalid(path, 'is empty. `antiphon init` writes one to start from.');

  const raw: unknown = toPlain(document, path);
  const at = (keys: readonly PropertyKey[], message: string): AntiphonError => {
    const line = lineOf(document, lines, keys);
    return invalid(line === undefined ? path : `${path}:${line}`, message, keys.map(String).join('.'));
  };
  let expanded: unknown;
  try {
    refuseLaterFeatures(raw);
    expanded = expandEnvironment(raw, env);
  } catch (error) {
    if (!(error instanceof AntiphonError)) throw error;
    throw at(String(error.context['path'] ?? '').split('.'), error.message);
  }
  const parsed = configSchema.safeParse(expanded);
  if (parsed.success) return resolveConfig(parsed.data, path);

  const issues = parsed.error.issues.slice(0, MAX_ISSUES_SHOWN).map((issue) => explainIssue(issue, expanded));
  const [first] = issues;
  if (first === undefined) throw invalid(path, 'is not valid.');
  if (issues.length === 1) throw at(first.path, first.message);
  const listed = issues.map(({ path: keys, message }) => {
    const line = lineOf(document, lines, keys);
    return `\n  ${line === undefined ? '' : `line ${line}: `}${message}`;
  });
  throw invalid(
    path,
    `has ${parsed.error.issues.length} mistakes:${listed.join('')}`,
    first.path.map(String).join('.'),
  );
}

function syntaxMistake(text: string, error: YAMLParseError, lines: LineCounter, path: string): AntiphonError {
  const { line, col } = lines.linePos(error.pos[0]);
  // Some of its messages end with a name from the file, after a colon.
  const [what = ''] = error.message.trim().split(/:\s/, 1);
  const place = `at line ${line}, column ${col}`;
  return invalid(path, `is not valid YAML: ${withoutStop(what)} ${place}.${hint(text, error)}`);
}

/**
 * `{ file: ${FILE} }` is the mistake that everybody makes once: the inner braces belong to YAML.
 */
function hint(text: string, error: YAMLParseError): string {
  const lineStart = text.lastIndexOf('\n', error.pos[0] - 1) + 1;
  const line = text.slice(lineStart).split('\n', 1)[0] ?? '';
  // Without the default, which may be a secret.
  const variable = /\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}/.exec(line)?.[1];
  return variable === undefined ? '' : `\nInside { } and [ ], put \${${variable}} between quotes.`;
}

function toPlain(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Aliases that would expand to an enormous document end here, and a value that begins with `*`,
    // which may be a password.
    const [what = ''] = (error instanceof Error ? error.message : String(error)).split(/:\s/, 1);
    throw invalid(
      path,
      `is not valid YAML: ${what}. Put a value that begins with "*" or "&" between quotes.`,
    );
  }
}

function readConfig(path: string): string {
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES)
      throw invalid(path, `is larger than ${MAX_CONFIG_BYTES} bytes.`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof AntiphonError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    const reason =
      code === 'ENOENT'
        ? 'does not exist. `antiphon init` writes one'
        : `cannot be read (${code ?? String(error)})`;
    throw new AntiphonError('BAD_OPTION', `The configuration file ${path} ${reason}.`, {
      cause: error,
      context: { file: path },
    });
  }
}

function invalid(place: string, message: string, path?: string): AntiphonError {
  const context = path === undefined || path === '' ? { place } : { place, path };
  const text =
    message.startsWith('is ') || message.startsWith('has ') ? `${place} ${message}` : `${place}: ${message}`;
  return new AntiphonError('BAD_OPTION', text, { context });
}

/** The line of the innermost part of `path` that stands in the file. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const keys = path.slice(0, length);
    const parent: unknown = length === 1 ? document.contents : document.getIn(keys.slice(0, -1), true);
    const last = String(keys[length - 1]);
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => String(key) === last);
      const range = (pair?.key as { range?: readonly number[] } | undefined)?.range;
      if (range?.[0] !== undefined) return lines.linePos(range[0]).line;
    }
    const node = document.getIn(keys, true) as { range?: readonly number[] } | undefined;
    if (node?.range?.[0] !== undefined) return lines.linePos(node.range[0]).line;
  }
  return undefined;
}
