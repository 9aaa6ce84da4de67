import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPackages } from './build.mjs';
import { installDependencies } from './install.mjs';

/** The folder of the repository. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * From a fresh clone to built packages; quick when there is nothing to do. Works from any current
 * folder.
 */
export async function setUp() {
  process.chdir(root);
  await installDependencies(root);
  await buildPackages(root);
}
