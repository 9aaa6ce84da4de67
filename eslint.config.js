import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';

const root = dirname(fileURLToPath(import.meta.url));

/** Tests and what only they use. */
const tests = [
  '**/*.test.{ts,mjs}',
  'packages/*/test/**',
  'packages/*/src/testing/**',
  'packages/*/src/e2e/**',
  'test/chaos/**',
  'test/e2e/**',
  'test/fuzz/**',
];

/** Imports are one-way: what each package may import of ours. A new package gets its line here. */
const layers = {
  core: [],
  actor: ['core'],
  nats: ['core'],
  'nats-server': ['core'],
  sqlite: ['core'],
  testing: ['core'],
  replica: ['core', 'actor', 'nats'],
  'test-cluster': ['core', 'nats', 'nats-server', 'sqlite', 'replica', 'testing'],
  client: ['core', 'actor', 'nats', 'replica'],
  simulator: ['core', 'sqlite', 'replica', 'testing'],
  console: [],
  server: ['core', 'replica', 'client', 'console'],
  cli: ['core', 'nats', 'nats-server', 'sqlite', 'replica', 'client', 'server'],
  antiphon: ['nats-server', 'sqlite', 'testing', 'replica', 'client', 'test-cluster', 'server', 'cli'],
};

/** What only these packages may import: everything else goes through the port in front of it. */
const drivers = {
  nats: ['nats'],
  'node:sqlite': ['sqlite'],
  '@photostructure/sqlite': ['sqlite'],
};

/** The Clock port on the real clock: the one place in core that may look outside. */
const systemClock = 'packages/core/src/clocks/system-clock.ts';

function layer([name, allowed]) {
  const ours = ['@antiphon/*', ...allowed.map((other) => `!@antiphon/${other}`)];
  const foreign = Object.keys(drivers).filter((driver) => !drivers[driver].includes(name));
  return {
    name: `antiphon/layer-${name}`,
    files: [`packages/${name}/src/**/*.ts`],
    ignores: [...tests, systemClock],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ours,
              message: `Imports are one-way: ${name} may import only [${allowed.join(', ')}] of ours.`,
            },
            ...(name === 'core'
              ? [{ regex: '^node:(?!buffer$)', message: 'core is pure: put it behind a port.' }]
              : []),
          ],
          paths: foreign.map((driver) => ({
            name: driver,
            message: `Only packages/${drivers[driver][0]} talks to it; use the port in front of it.`,
          })),
        },
      ],
    },
  };
}

const useClock = 'Take it from the Clock port, so that the simulator decides it.';
const clockGlobals = ['setTimeout', 'setInterval', 'setImmediate', 'performance'];

/** core and actor run in the simulator: time and chance come in from outside. */
const deterministic = {
  name: 'antiphon/deterministic',
  files: ['packages/core/src/**/*.ts', 'packages/actor/src/**/*.ts'],
  ignores: [...tests, systemClock],
  rules: {
    'no-restricted-globals': ['error', ...clockGlobals.map((name) => ({ name, message: useClock }))],
    'no-restricted-properties': [
      'error',
      { object: 'Date', property: 'now', message: useClock },
      { object: 'Math', property: 'random', message: useClock },
    ],
    'no-restricted-syntax': [
      'error',
      { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: useClock },
    ],
  },
};

/** Read without types; cheap, so they hold for the plain scripts as well. */
const plain = {
  name: 'antiphon/plain',
  rules: {
    eqeqeq: 'error',
    'max-lines': ['error', { max: 600 }],
    'max-lines-per-function': ['error', { max: 90, skipBlankLines: true, skipComments: true }],
    'no-constant-binary-expression': 'error',
    'no-duplicate-imports': ['error', { allowSeparateTypeImports: true }],
    'no-else-return': 'error',
    'no-empty': 'error',
    'no-fallthrough': 'error',
    'no-unreachable': 'error',
    'no-unsafe-finally': 'error',
    'no-unused-labels': 'error',
    'no-useless-return': 'error',
    'no-var': 'error',
    'object-shorthand': 'error',
    'prefer-const': 'error',
  },
};

/** Prettier wraps code, and no comments: prose reads badly beyond 100 columns. */
const width = {
  name: 'antiphon/width',
  files: ['**/*.{ts,tsx,js,mjs}'],
  rules: {
    'max-len': [
      'error',
      {
        code: 120,
        comments: 100,
        ignoreUrls: true,
        ignoreStrings: true,
        ignoreTemplateLiterals: true,
        ignoreRegExpLiterals: true,
        // Code in the comments.
        ignorePattern: String.raw`^ *\* ( {2,}|await |const |for )`,
      },
    ],
  },
};

/** The page of the console: in a browser, with another library than Node.js has. */
const PAGE = 'packages/console/page';

const typescript = {
  name: 'antiphon/typescript',
  files: ['**/*.ts'],
  ignores: [`${PAGE}/**`],
  plugins: { '@typescript-eslint': tseslint.plugin },
  languageOptions: {
    parser: tseslint.parser,
    // One program over all packages and tests: several times faster than one for each package.
    parserOptions: { project: ['infra/tsconfig.checks.json'], tsconfigRootDir: root },
  },
  rules: {
    '@typescript-eslint/await-thenable': 'error',
    '@typescript-eslint/ban-ts-comment': 'error',
    '@typescript-eslint/consistent-type-imports': 'error',
    '@typescript-eslint/no-deprecated': 'error',
    '@typescript-eslint/no-empty-object-type': 'error',
    '@typescript-eslint/no-explicit-any': 'error',
    '@typescript-eslint/no-floating-promises': 'error',
    '@typescript-eslint/no-for-in-array': 'error',
    '@typescript-eslint/no-implied-eval': 'error',
    '@typescript-eslint/no-misused-promises': 'error',
    '@typescript-eslint/no-non-null-assertion': 'error',
    '@typescript-eslint/no-require-imports': 'error',
    '@typescript-eslint/no-unnecessary-type-assertion': 'error',
    '@typescript-eslint/no-unsafe-argument': 'error',
    '@typescript-eslint/no-unsafe-assignment': 'error',
    '@typescript-eslint/no-unsafe-call': 'error',
    '@typescript-eslint/no-unsafe-function-type': 'error',
    '@typescript-eslint/no-unsafe-member-access': 'error',
    '@typescript-eslint/no-unsafe-return': 'error',
    '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    '@typescript-eslint/only-throw-error': 'error',
    // `reject(signal.reason)`: what an AbortSignal carries is the caller's business.
    '@typescript-eslint/prefer-promise-reject-errors': [
      'error',
      { allowThrowingAny: true, allowThrowingUnknown: true },
    ],
    '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
    '@typescript-eslint/switch-exhaustiveness-check': [
      'error',
      { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
    ],
    '@typescript-eslint/use-unknown-in-catch-callback-variable': 'error',
  },
};

const page = {
  name: 'antiphon/page',
  files: [`${PAGE}/**/*.{ts,tsx}`],
  plugins: typescript.plugins,
  languageOptions: {
    parser: tseslint.parser,
    parserOptions: { project: [`${PAGE}/tsconfig.json`], tsconfigRootDir: root },
  },
  rules: typescript.rules,
};

/** Libraries return errors; only what stands outermost prints. */
const quietLibraries = {
  name: 'antiphon/quiet-libraries',
  files: ['packages/*/src/**/*.ts'],
  ignores: [...tests, 'packages/cli/src/**', '**/main.ts'],
  rules: { 'no-console': 'error' },
};

const testFiles = {
  name: 'antiphon/tests',
  files: tests,
  rules: {
    // `describe` is a function too, and matchers are typed `any`.
    'max-lines-per-function': 'off',
    '@typescript-eslint/no-non-null-assertion': 'off',
    '@typescript-eslint/no-unsafe-assignment': 'off',
    '@typescript-eslint/no-unsafe-argument': 'off',
    '@typescript-eslint/no-unsafe-member-access': 'off',
  },
};

const nodeGlobals = [
  'AbortController',
  'AbortSignal',
  'clearInterval',
  'clearTimeout',
  'console',
  'fetch',
  'performance',
  'process',
  'setInterval',
  'setTimeout',
  'URL',
];

const scripts = {
  name: 'antiphon/scripts',
  files: ['**/*.{js,mjs}'],
  languageOptions: { globals: Object.fromEntries(nodeGlobals.map((name) => [name, 'readonly'])) },
  rules: {
    'no-undef': 'error',
    'no-unused-vars': 'error',
  },
};

/** They run before anything is installed. */
const setupScripts = {
  name: 'antiphon/setup-scripts',
  files: ['infra/scripts/**/*.mjs'],
  ignores: ['**/*.test.mjs'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [{ regex: '^(?!node:|\\.)', message: 'These run on a fresh clone: Node built-ins only.' }],
      },
    ],
  },
};

export default [
  {
    name: 'antiphon/ignored',
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      'examples/*/src/generated/**',
      'coverage/**',
      '.turbo/**',
      '**/.antiphon/**',
    ],
  },
  { name: 'antiphon/strict-comments', linterOptions: { reportUnusedDisableDirectives: 'error' } },
  plain,
  width,
  typescript,
  page,
  deterministic,
  quietLibraries,
  ...Object.entries(layers).map(layer),
  testFiles,
  scripts,
  setupScripts,
];
