/**
 * The order of the rooms of packages/replica/src, from the top down: a file imports from its own
 * room and from rooms below it, types included. docs/decisions/0052 says what each room is for.
 */
const ROOMS = [
  'start',
  'service',
  'replica',
  'membership',
  'failover',
  'repair',
  'read',
  'write',
  'sync',
  'publish',
  'deliver',
  'state',
  'cluster',
  'config',
  'log',
  'wait',
  'tracing',
];

const TESTS = '[.]test[.]ts$|/testing/';

const noArrowUp = ROOMS.slice(1).map((room, index) => ({
  name: `replica-${room}-imports-downwards`,
  comment: `${room} may import only from rooms below it: move what it needs down, or give it an interface of its own`,
  severity: 'error',
  from: { path: `^packages/replica/src/${room}/`, pathNot: TESTS },
  to: { path: `^packages/replica/src/(index[.]ts$|(${ROOMS.slice(0, index + 1).join('|')})/)` },
}));

export default {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'two files that import each other, types included, are one file or need a third one',
      severity: 'error',
      from: { path: '^packages/', pathNot: TESTS },
      to: { circular: true },
    },
    {
      name: 'no-room-of-its-own',
      comment:
        'every file of packages/replica/src belongs to a room, and a new room has its place in the order',
      severity: 'error',
      from: {},
      to: {
        path: '^packages/replica/src/',
        pathNot: `^packages/replica/src/((index|internal|node-check)[.]ts$|testing/|(${ROOMS.join('|')})/)`,
      },
    },
    ...noArrowUp,
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'infra/tsconfig.checks.json' },
    doNotFollow: { path: 'node_modules|/dist/' },
    exclude: { path: '/dist/|/node_modules/' },
    enhancedResolveOptions: {
      conditionNames: ['@antiphon/source', 'import', 'default'],
      exportsFields: ['exports'],
    },
  },
};
