#!/usr/bin/env node
import { nodeProblem } from '@antiphon/core/supported-node';

const WRONG_USAGE = 2;
const { argv, execPath, versions } = process;
const problem = nodeProblem({ version: versions.node, execPath });
if (problem === undefined) {
  // Only now: what an older Node.js can't load would fail before the first line of this file ran.
  await import('./command.js');
} else {
  const context = { version: versions.node, execPath };
  const error = { code: 'NODE_TOO_OLD', message: problem, retriable: false, context };
  console.error(argv.includes('--json') ? JSON.stringify({ error }) : problem);
  process.exitCode = WRONG_USAGE;
}
