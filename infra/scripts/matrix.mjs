import { join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { findBinaries, testCacheDir } from './matrix-binaries.mjs';
import { root, setUp } from './set-up.mjs';
import { lastLine, runMain, SetupError, step } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// `npm run matrix [-- smoke|tests] [--node 22,24] [--nats 2.9,2.10,2.15] [--servers 1,3]`: every
// Node.js with every nats-server, alone and as three. Each cell runs the built command (smoke), and
// a share of the tests on the sources. Ends with a table; what this machine has not is skipped, and
// the table says why.
const LINES = { node: ['22', '24'], nats: ['2.9', '2.10', '2.15'], servers: ['1', '3'] };
const SMOKE = join(root, 'infra', 'scripts', 'matrix-smoke.mjs');
const VITEST = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const SMOKE_LIMIT_MS = 5 * 60_000;
const TESTS_LIMIT_MS = 15 * 60_000;

/** Of the tests with a real server: the ports by their kits, and replicas in both update modes. */
const TESTS = {
  1: [
    'packages/nats/src/conformance.nats.test.ts',
    'packages/nats/src/log/append',
    'packages/nats/src/log/reader.nats.test.ts',
    'packages/nats/src/publication/publication.nats.test.ts',
    'packages/nats/src/permission-matrix.nats.test.ts',
    'packages/replica/src/start/start.nats.test.ts',
    'packages/replica/src/sync/sync.nats.test.ts',
    'packages/client/src/client.nats.test.ts',
    'packages/server/src/subjects.nats.test.ts',
  ],
  3: ['leader-change.nats.test.ts', 'server-loss.nats.test.ts', 'describe-cluster.nats.test.ts'],
};
const PARTS = ['smoke', 'tests'];

process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  const { parts, wanted } = parse(process.argv.slice(2));
  await setUp();
  const nodes = await findBinaries('node', wanted.node);
  const servers = await findBinaries('nats-server', wanted.nats);
  const rows = [];
  for (const node of nodes)
    for (const server of servers) rows.push(await row(node, server, { parts, wanted }));
  console.log(`\n${table(rows, { parts, wanted })}`);
  return rows.some(({ cells }) => cells.some((cell) => cell.startsWith('FAILED'))) ? 1 : 0;
});

function parse(args) {
  const wanted = { ...LINES };
  const parts = [];
  for (let at = 0; at < args.length; at++) {
    const name = args[at].replace(/^--/, '');
    if (PARTS.includes(args[at])) parts.push(args[at]);
    else if (args[at].startsWith('--') && name in LINES && args[at + 1] !== undefined)
      wanted[name] = args[++at].split(',');
    else
      throw new SetupError(
        `\`${args[at]}\` is not known. Write: npm run matrix -- [smoke|tests] [--node 22,24] [--nats 2.9,2.10] [--servers 1,3]`,
      );
  }
  return { parts: parts.length > 0 ? parts : PARTS, wanted };
}

async function row(node, server, { parts, wanted }) {
  const missing = [
    ...(node.binary === undefined ? [`no Node.js ${node.line}`] : []),
    ...(server.binary === undefined ? [`no nats-server ${server.line}`] : []),
  ];
  const cells = [];
  for (const part of parts)
    for (const count of wanted.servers)
      cells.push(
        missing.length > 0 ? `skipped: ${missing.join(', ')}` : await cell({ node, server, count, part }),
      );
  return { node: node.version ?? node.line, server: server.version ?? server.line, cells };
}

async function cell({ node, server, count, part }) {
  const where = `Node.js ${node.version}, ${count === '1' ? 'one' : count} nats-server ${server.version}`;
  const done = step(`${part}: ${where}`);
  const sinceMs = performance.now();
  const env = { ANTIPHON_NATS_SERVER: server.binary, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' };
  const { ok, output } =
    part === 'smoke'
      ? await runQuietly(node.binary, [SMOKE, server.binary, count], { env, limitMs: SMOKE_LIMIT_MS })
      : await runQuietly(node.binary, [VITEST, 'run', '--project', 'nats', ...TESTS[count]], {
          env: { ...env, NO_COLOR: '1' },
          limitMs: TESTS_LIMIT_MS,
        });
  done();
  const seconds = `${Math.round((performance.now() - sinceMs) / 1000)} s`;
  if (ok)
    return part === 'smoke' ? seconds : `${/Tests +(\d+ passed)/.exec(output)?.[1] ?? 'passed'}, ${seconds}`;
  console.error(output.slice(-8000));
  return `FAILED: ${/Tests +(\d+ failed)/.exec(output)?.[1] ?? lastLine(output).slice(0, 100)}`;
}

/** As docs/versions.md has it. */
function table(rows, { parts, wanted }) {
  const columns = parts.flatMap((part) =>
    wanted.servers.map((count) => `${part}, ${count === '1' ? 'one server' : `${count} servers`}`),
  );
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const skipped = rows.some(({ cells }) => cells.some((each) => each.startsWith('skipped')));
  return [
    line(['Node.js', 'nats-server', ...columns]),
    line(['---', '---', ...columns.map(() => '---')]),
    ...rows.map(({ node, server, cells }) => line([node, server, ...cells])),
    ...(skipped
      ? [`\nPut what is missing below ${testCacheDir()}, or name it in ANTIPHON_MATRIX_BINARIES.`]
      : []),
  ].join('\n');
}
