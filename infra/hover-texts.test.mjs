import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Packages that programs are written with: their editor shows what stands in the comments. */
const folders = ['replica', 'sqlite', 'client', 'server', 'test-cluster', 'testing'];
const entryOf = (folder) => join(root, 'packages', folder, 'src', 'index.ts');

const program = ts.createProgram(folders.map(entryOf), {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  customConditions: ['@antiphon/source'],
  noLib: true,
  types: [],
});
const checker = program.getTypeChecker();

function exportsOf(folder) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(entryOf(folder)));
  return checker.getExportsOfModule(module).map((symbol) => {
    const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
    return { name: symbol.name, symbol: isAlias ? checker.getAliasedSymbol(symbol) : symbol };
  });
}

const textOf = (symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
/** Of an interface or class, without what is private. */
const membersOf = ({ members = new Map() }) =>
  [...members.values()].filter(({ name, valueDeclaration }) => {
    if (valueDeclaration === undefined) return false; // A type parameter.
    const isPrivate = name.startsWith('__') || ts.isPrivateIdentifier(valueDeclaration?.name ?? {});
    return !isPrivate && (ts.getCombinedModifierFlags(valueDeclaration) & ts.ModifierFlags.Private) === 0;
  });

/** Types of what a user gives by name, and what is called most. */
const HELD =
  /(Options|Query|Limits|Access|Login|Tls|Address)$|^(Replica|SqliteTransaction|ClusterClient|TestCluster)$/;

it('keeps an example as it was written, below its tag', () => {
  const broken = program
    .getSourceFiles()
    .filter(({ fileName }) => fileName.startsWith(join(root, 'packages')))
    .flatMap(({ fileName, text }) => (/@example[ ]+\S/.test(text) ? [fileName.slice(root.length)] : []));
  expect(broken).toEqual([]);
});

describe.each(folders)('what an editor shows of @antiphon/%s', (folder) => {
  it('says what each export is', () => {
    const silent = exportsOf(folder).filter(({ symbol }) => textOf(symbol) === '');
    expect(silent.map(({ name }) => name)).toEqual([]);
  });

  it('says what each option and each method is, and its default in a tag', () => {
    const held = exportsOf(folder).filter(({ name }) => HELD.test(name));
    const members = held.flatMap(({ name, symbol }) =>
      membersOf(symbol).map((member) => ({ name: `${name}.${member.name}`, text: textOf(member) })),
    );
    expect(members.filter(({ text }) => text === '').map(({ name }) => name)).toEqual([]);
    const untagged = members.filter(({ text }) =>
      /when absent|\bdefaults? (to|is|\d)|\bdefault:/i.test(text),
    );
    expect(untagged.map(({ name }) => name)).toEqual([]);
  });
});
