import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const readJson = (...path) => JSON.parse(readFileSync(join(root, ...path), 'utf8'));
/** What users can import. A name that is added to a package is a decision: it stays for years. */
const agreed = readJson('infra', 'public-names.json');

/** The modules of each published package, without `./internal`, which promises nothing. */
const entries = readdirSync(join(root, 'packages')).flatMap((folder) => {
  const { name, private: isPrivate, exports } = readJson('packages', folder, 'package.json');
  if (isPrivate) return [];
  return Object.entries(exports).flatMap(([path, targets]) => {
    const source = targets['@antiphon/source'];
    if (source === undefined || path === './internal') return [];
    return [{ folder, module: `${name}${path.slice(1)}`, file: join('packages', folder, source) }];
  });
});

/** Names of values, and of types only; a `*` is reported as it stands. */
function namesOf(file) {
  const text = readFileSync(join(root, file), 'utf8');
  const { statements } = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const [values, types] = [[], []];
  for (const statement of statements) {
    const isExported = statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;
    if (ts.isExportDeclaration(statement)) {
      const elements = statement.exportClause?.elements;
      if (elements === undefined) values.push(`* of ${statement.moduleSpecifier?.text}`);
      for (const { name, isTypeOnly } of elements ?? [])
        (isTypeOnly || statement.isTypeOnly ? types : values).push(name.text);
    } else if (isExported) {
      const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
      const names = statement.name ? [statement] : (statement.declarationList?.declarations ?? []);
      for (const { name } of names) (isType ? types : values).push(name.text);
    }
  }
  return { values: values.sort(), types: types.sort() };
}

/** Types of what a user gives by name. */
const OPTIONS = /(Options|Query|Rates|Limits|Address)$/;

/** The tests of a package that misspell its options. */
function typoTestsOf(folder) {
  const src = join(root, 'packages', folder, 'src');
  const files = readdirSync(src, { recursive: true }).filter((file) =>
    /option-typos.*\.test\.ts$/.test(file),
  );
  return files.map((file) => readFileSync(join(src, file), 'utf8')).join();
}

// The callers of core are Antiphon's own packages, and `antiphon` passes on what the others export.
const taking = entries.filter(({ folder }) => folder !== 'core' && folder !== 'antiphon');

describe('what users can import', () => {
  it.each(taking)('$module takes no options whose names are not checked', ({ folder, file }) => {
    const tests = typoTestsOf(folder);
    const unchecked = namesOf(file).types.filter(
      (name) => OPTIONS.test(name) && !new RegExp(`\\b${name}\\b`).test(tests),
    );
    expect(unchecked, 'Give each one a case in an option-typos test of the package.').toEqual([]);
  });

  it.each(entries)('$module exports what was agreed on, by name', ({ module, file }) => {
    const { values, types } = namesOf(file);
    const hint =
      'Is a new name meant for users? Then add it to infra/public-names.json, else to src/internal.ts.';
    expect({ values, types }, hint).toEqual(agreed[module]);
  });

  it('is written down for no module that does not exist', () => {
    expect(Object.keys(agreed)).toEqual(entries.map(({ module }) => module));
  });

  it('does not include what ./internal exports', () => {
    for (const { module, file } of entries) {
      const internal = join(dirname(file), 'internal.ts');
      if (!existsSync(join(root, internal))) continue;
      const hidden = Object.values(namesOf(internal)).flat();
      expect(
        Object.values(namesOf(file))
          .flat()
          .filter((name) => hidden.includes(name)),
        module,
      ).toEqual([]);
    }
  });
});
