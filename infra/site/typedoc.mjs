import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Converter, ReflectionKind } from 'typedoc';
import { API, ROOT } from './pages.mjs';

const TSCONFIG = 'infra/site/tsconfig.json';
const readJson = (/** @type {string} */ file) => JSON.parse(readFileSync(join(ROOT, file), 'utf8'));

/** The modules that programs import, in the order in which a reader meets them. */
const entryPoints = readJson(TSCONFIG).files.map((file) => join(ROOT, dirname(TSCONFIG), file));

/** How each source is imported, by its path. */
const names = new Map(
  readdirSync(join(ROOT, 'packages')).flatMap((folder) => {
    const { name, exports } = readJson(`packages/${folder}/package.json`);
    return Object.entries(exports ?? {}).map(([path, { '@antiphon/source': source = '' }]) => [
      join(ROOT, 'packages', folder, source),
      name + path.slice(1),
    ]);
  }),
);

/** Modules have the names by which they are imported. */
function namedAsImported(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, ({ project }, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Module)) return;
    const file = project.getSymbolIdFromReflection(reflection)?.fileName;
    reflection.name = names.get(file) ?? reflection.name;
  });
}

/** @type {import('typedoc').TypeDocOptions & import('typedoc-plugin-markdown').PluginOptions} */
export default {
  plugin: ['typedoc-plugin-markdown', namedAsImported],
  entryPoints,
  tsconfig: join(ROOT, TSCONFIG),
  // `npm run typecheck` does that.
  skipErrorChecking: true,
  out: join(ROOT, API),
  name: 'API',
  readme: join(ROOT, 'infra', 'site', 'api.md'),
  mergeReadme: true,
  excludeScopesInPaths: true,
  indexFormat: 'table',
  entryFileName: 'index',
  excludeInternal: true,
  excludePrivate: true,
  excludeProtected: true,
  disableSources: true,
  hideBreadcrumbs: true,
  hidePageHeader: true,
  sanitizeComments: true,
  useHTMLEncodedBrackets: true,
  interfacePropertiesFormat: 'table',
  parametersFormat: 'table',
  typeDeclarationFormat: 'table',
  // All of them are `readonly`.
  tableColumnSettings: { hideModifiers: true },
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  validation: { notExported: true, invalidLink: true, notDocumented: true },
  requiredToBeDocumented: ['Class', 'Interface', 'TypeAlias', 'Function', 'Variable'],
};
