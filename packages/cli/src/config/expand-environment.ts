import { AntiphonError } from '@antiphon/core';

const VARIABLE = /\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

/**
 * Replaces `${NAME}` and `${NAME:-default}` in every string of a parsed document; `$$` is a plain
 * `$`. It works on values, never on the text of the file, so that a value can't add keys or break
 * the syntax.
 *
 * @throws AntiphonError BAD_OPTION, naming the place and the variable, when one without a default
 *   is not set.
 */
export function expandEnvironment(
  value: unknown,
  env: NodeJS.ProcessEnv,
  path: readonly string[] = [],
): unknown {
  if (typeof value === 'string') return expandText(value, env, path);
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => expandEnvironment(item, env, [...path, String(index)]));
  }
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, expandEnvironment(item, env, [...path, key])]),
  );
}

function expandText(text: string, env: NodeJS.ProcessEnv, path: readonly string[]): string {
  return text.replace(VARIABLE, (match: string, name: string | undefined, fallback: string | undefined) => {
    if (match === '$$') return '$';
    const place = path.join('.');
    if (name === undefined) {
      const message = `${place} has a "\${" that names no variable. Write \${NAME}, \${NAME:-default} or $$.`;
      throw new AntiphonError('BAD_OPTION', message, { context: { path: place } });
    }
    // As in a shell, `:-` also replaces a variable that is set but empty.
    const set = env[name];
    if (set !== undefined && (set !== '' || fallback === undefined)) return set;
    if (fallback !== undefined) return fallback;
    const message = `${place}: the environment variable ${name} is not set. Set it, or write \${${name}:-default}.`;
    throw new AntiphonError('BAD_OPTION', message, { context: { path: place, variable: name } });
  });
}
