import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const readJson = (...path) => JSON.parse(readFileSync(join(root, ...path), 'utf8'));
const repository = readJson('package.json');
const ofRepository = repository.devDependencies;
const packages = readdirSync(join(root, 'packages')).map((folder) => {
  const manifest = readJson('packages', folder, 'package.json');
  const { name, private: isPrivate = false, files, dependencies = {}, peerDependencies = {} } = manifest;
  const runtime = { ...dependencies, ...peerDependencies };
  const all = { ...runtime, ...manifest.devDependencies };
  return { folder, name, isPrivate, manifest, files, dependencies, runtime, all };
});

const TEST = /\.test\.ts$|\/testing\/|\/e2e\//;
const IMPORT =
  /(?:^(?:import|export|\}) ?[^;\n]*from |import\()'(@[\w-]+\/[\w-]+|[a-z][\w-]*)(?:\/[\w/-]+)?'/gm;

/**
 * The packages that the sources of a folder import; only of tests, or only of what is published.
 */
function importedBy(folder, ofTests) {
  const src = join(root, 'packages', folder, 'src');
  const files = readdirSync(src, { recursive: true }).filter((file) => file.endsWith('.ts'));
  const names = files
    .filter((file) => TEST.test(`/${file}`) === ofTests)
    .flatMap((file) =>
      Array.from(readFileSync(join(src, file), 'utf8').matchAll(IMPORT), ([, name]) => name),
    );
  return new Set(names);
}

describe.each(packages)(
  '$name',
  ({ folder, name, isPrivate, manifest, files, dependencies, runtime, all }) => {
    it('has the one version of all packages, and needs exactly that of the others', () => {
      const ours = Object.entries(all).filter(([one]) => one.startsWith('@antiphon/'));
      expect(manifest.version).toBe(repository.version);
      expect(ours.filter(([, version]) => version !== repository.version)).toEqual([]);
    });

    it.skipIf(isPrivate)('says on the page of a registry what it is, and where it comes from', () => {
      expect(manifest.description).toMatch(/^[A-Z].{15,}/);
      expect(manifest.keywords).toEqual(
        expect.arrayContaining(['antiphon', 'sqlite', 'replication', 'nats']),
      );
      expect(manifest).toMatchObject({ license: repository.license, engines: repository.engines });
      const { homepage, bugs } = repository;
      const address = repository.repository && {
        ...repository.repository,
        directory: `packages/${folder}`,
      };
      expect({ ...manifest }).toMatchObject(
        JSON.parse(JSON.stringify({ homepage, bugs, repository: address })),
      );
    });

    it('declares what it imports, and nothing of ours besides', () => {
      const imported = importedBy(folder, false);
      expect([...imported].filter((one) => !(one in runtime) && one !== name)).toEqual([]);
      const ours = Object.keys(dependencies).filter((one) => one.startsWith('@antiphon/'));
      expect(ours.filter((one) => !imported.has(one))).toEqual([]);
      const others = [...importedBy(folder, true)].filter((one) => !(one in all) && !(one in ofRepository));
      expect(others.filter((one) => one !== name)).toEqual([]);
    });

    it.skipIf(isPrivate)('publishes neither tests nor build state', () => {
      const never = ['!dist/.tsbuildinfo', '!src/**/*.test.ts', '!src/testing', '!src/e2e'];
      expect(files).toEqual(expect.arrayContaining(['dist', 'src', ...never]));
    });

    // npm packs a LICENSE that lies in the folder, whatever `files` says, and follows no link.
    it.skipIf(isPrivate)('carries the license of the repository', () => {
      const own = join(root, 'packages', folder, 'LICENSE');
      const says = `Copy LICENSE of the repository to packages/${folder}.`;
      expect(existsSync(own) && lstatSync(own).isFile(), says).toBe(true);
      expect(readFileSync(own, 'utf8'), says).toBe(readFileSync(join(root, 'LICENSE'), 'utf8'));
    });

    it.skipIf(isPrivate)('depends neither on what it is measured against nor on a private package', () => {
      const unpublished = packages.filter((one) => one.isPrivate).map((one) => one.name);
      const forbidden = ['pg', 'better-sqlite3', ...unpublished];
      expect(forbidden.filter((one) => one in all)).toEqual([]);
    });
  },
);

it('no package needs itself to be built or tested', () => {
  const needs = new Map(packages.map(({ name, all }) => [name, Object.keys(all)]));
  const circles = [];
  const visit = (name, path) => {
    if (path.includes(name)) circles.push([...path.slice(path.indexOf(name)), name].join(' → '));
    else for (const next of needs.get(name) ?? []) visit(next, [...path, name]);
  };
  for (const { name } of packages) visit(name, []);
  expect(circles).toEqual([]);
});

it('what npm packs has the license in it', { timeout: 120_000 }, () => {
  const args = ['pack', '--dry-run', '--json', '--silent', '--workspace=@antiphon/cli'];
  const [{ files }] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' }));
  expect(files.map(({ path }) => path)).toEqual(expect.arrayContaining(['LICENSE', 'package.json']));
});

it('the lock file names no registry: everybody installs from the one of their own settings', () => {
  const resolved = Object.values(readJson('package-lock.json').packages).flatMap((one) => one.resolved ?? []);
  expect(resolved.filter((place) => /^[a-z+]+:/.test(place))).toEqual([]);
  expect(readFileSync(join(root, '.npmrc'), 'utf8')).toContain('omit-lockfile-registry-resolved=true');
});
