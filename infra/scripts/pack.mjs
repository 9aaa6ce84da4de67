import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { npm } from './npm.mjs';
import { root, setUp } from './set-up.mjs';
import { runMain, step, SetupError } from './steps.mjs';
import { goOnUnder, otherNode } from './under-node.mjs';

// `npm run pack [-- FOLDER]`: a tarball of every published package, as `npm publish` takes them, in
// the order in which they can be published: none before what it needs. `--built`: installs and
// builds nothing before.
const DEFAULT_FOLDER = '.cache/packages';
const PACK_LIMIT_MS = 5 * 60_000;
/** What one installs to have everything: it carries the changelog of all. */
const UMBRELLA = 'antiphon';

process.exitCode = await runMain(async () => {
  const other = await otherNode();
  if (other !== undefined) return goOnUnder(other, import.meta.url);
  const args = process.argv.slice(2);
  const given = args.find((argument) => !argument.startsWith('-'));
  const folder = resolve(given ?? join(root, DEFAULT_FOLDER));
  if (args.includes('--built')) process.chdir(root);
  else await setUp();
  for (const file of await packAll(folder)) console.log(file);
  return 0;
});

async function packAll(folder) {
  const { repository } = readManifest('.');
  if (repository === undefined)
    console.error('package.json names no `repository`. Before you publish: docs/releasing.md.');
  const done = step(`packing into ${folder}`);
  // A tarball of an earlier version would be published with the new ones.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const changelog = join(root, 'packages', UMBRELLA, 'CHANGELOG.md');
  copyFileSync(join(root, 'CHANGELOG.md'), changelog);
  try {
    const packages = inOrder(published());
    const workspaces = packages.map(({ name }) => `--workspace=${name}`);
    const { ok, output } = await npm(['pack', `--pack-destination=${folder}`, ...workspaces], {
      limitMs: PACK_LIMIT_MS,
    });
    if (!ok) throw new SetupError(`${output.trim()}\n\nnpm pack failed; see above.`);
    done();
    return packages.map(({ name, version }) => join(folder, tarballOf(name, version)));
  } finally {
    rmSync(changelog, { force: true });
  }
}

function readManifest(folder) {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}

function published() {
  const manifests = readdirSync(join(root, 'packages')).map((name) => readManifest(join('packages', name)));
  return manifests.filter(({ private: isPrivate = false }) => !isPrivate);
}

function inOrder(packages) {
  const ordered = [];
  const visit = (one) => {
    if (ordered.includes(one)) return;
    for (const name of Object.keys(one.dependencies ?? {})) {
      const needed = packages.find((candidate) => candidate.name === name);
      if (needed !== undefined) visit(needed);
    }
    ordered.push(one);
  };
  for (const one of packages) visit(one);
  return ordered;
}

function tarballOf(name, version) {
  return `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
}
