import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findOldNode, start } from './old-node.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const withNode = join(root, 'infra', 'scripts', 'with-node.mjs');
const old = findOldNode();
// Shown as skipped where every Node.js is new.
const onOldNode = describe.skipIf(old === undefined);
const { binary = '', version = '' } = old ?? {};
const TOO_OLD = `Antiphon needs Node.js 22.19 or newer (best: the newest 24); this is Node.js ${version} (`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-old-node-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A file outside the packages' own folders, as a user's program that has them installed. */
function program(name: string, text: string): string {
  const folder = join(dir, 'program');
  mkdirSync(folder, { recursive: true });
  const modules = join(folder, 'node_modules');
  rmSync(modules, { force: true });
  symlinkSync(join(root, 'node_modules'), modules);
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

onOldNode('on a Node.js that is too old', () => {
  it.each(['bin/antiphon.js', 'dist/bin.js'])('the command (%s) says so in two lines', async (file) => {
    const command = join(root, 'packages', 'cli', file);
    const { code, stdout, stderr } = await start(binary, [command, 'status']).ended;
    expect(stderr).toContain(TOO_OLD);
    expect(stderr.trim().split('\n')).toHaveLength(2);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it.each(['@antiphon/replica', '@antiphon/sqlite'])(
    'loading %s fails with that error alone',
    async (name) => {
      const file = program('import.mjs', `import * as antiphon from '${name}';\nconsole.log(antiphon);\n`);
      const { code, stdout, stderr } = await start(binary, [file]).ended;
      expect(stderr).toContain(`AntiphonError: ${TOO_OLD}`);
      expect(stderr).toContain('nvm install 24');
      expect(stderr).not.toMatch(/^ +at |SyntaxError|Cannot find/m);
      expect(stdout).toBe('');
      expect(code).toBe(1);
    },
  );

  it.each(['@antiphon/replica', '@antiphon/sqlite'])(
    'a program can tell why %s does not load',
    async (name) => {
      const file = program('code.mjs', `import('${name}').catch(({ code }) => console.log(code));\n`);
      expect((await start(binary, [file]).ended).stdout).toBe('NODE_TOO_OLD\n');
    },
  );

  it('every script of the repository can be read', async () => {
    const folder = join(root, 'infra', 'scripts');
    const scripts = readdirSync(folder).filter(
      (name) => name.endsWith('.mjs') && !name.endsWith('.test.mjs'),
    );
    expect(scripts).toContain('start.mjs');
    const checks = scripts.map((script) => start(binary, ['--check', join(folder, script)]).ended);
    for (const ended of await Promise.all(checks)) expect(ended).toMatchObject({ code: 0, stderr: '' });
  });
});

onOldNode('the scripts of the repository', () => {
  const { execPath, versions } = process;

  it('go on under a newer Node.js and say so; what they start gets it too, npm included', async () => {
    const script =
      'node -p "JSON.stringify([process.execPath, process.argv[1]])" "an argument" && npm exec --offline -c "node -v"';
    const { code, stdout, stderr } = await start(binary, [withNode, 'sh', '-c', script], {
      ANTIPHON_NODE: execPath,
    }).ended;
    expect(stderr).toContain(`• going on under Node.js ${versions.node} (${execPath}); this is ${version}\n`);
    expect(stdout).toBe(`${JSON.stringify([execPath, 'an argument'])}\nv${versions.node}\n`);
    expect(code).toBe(0);
  });

  it('hand on exit codes and a Ctrl-C, once', async () => {
    const patient = `
      process.on('SIGINT', () => { console.log('SIGINT'); setTimeout(() => process.exit(5), 200); });
      setInterval(() => undefined, 1000);
      console.log('ready');`;
    const outer = start(binary, [withNode, 'node', '-e', patient], { ANTIPHON_NODE: execPath });
    await eventually('it is ready', () => outer.output().includes('ready'), {
      timeoutMs: 30_000,
      seen: () => outer.output(),
    });
    outer.child.kill('SIGINT');
    outer.child.kill('SIGINT');
    const { code, stdout } = await outer.ended;
    expect(stdout.match(/SIGINT/g)).toHaveLength(1);
    expect(code).toBe(5);
  });

  it('say what to do, without a stack, when there is no way to a newer one', async () => {
    const env = { ANTIPHON_NODE: join(dir, 'none') };
    const scripts = join(root, 'infra', 'scripts');
    const started = await start(binary, [join(scripts, 'start.mjs')], env).ended;
    expect(started.stderr).toContain('ANTIPHON_NODE must name a Node.js');
    expect(started.stderr).not.toMatch(/^ +at /m);
    expect(started.code).toBe(1);
    const tested = await start(binary, [join(scripts, 'test.mjs')], { ...env, ANTIPHON_FAILED_CHECKS: '1' })
      .ended;
    expect(tested.stdout).toBe('0 passed, 2 failed\n');
    expect(tested.code).toBe(1);
  });
});
