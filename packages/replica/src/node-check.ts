import { AntiphonError, nodeProblem } from '@antiphon/core';

// Imported first: on an older Node.js, this is what a program gets, not a missing function some
// time later.
const { execPath, versions } = process;
const problem = nodeProblem({ version: versions.node, execPath });
if (problem !== undefined) {
  const error = new AntiphonError('NODE_TOO_OLD', problem);
  // Where it was thrown would only hide what it says.
  error.stack = `${error.name}: ${error.message}`;
  throw error;
}
