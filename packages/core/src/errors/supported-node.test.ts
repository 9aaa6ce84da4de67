import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeProblem, OLDEST_NODE_VERSION } from './supported-node.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const on = (version: string) => nodeProblem({ version, execPath: '/usr/bin/node' });

describe('the Node.js that Antiphon runs on', () => {
  it.each(['22.19.0', '22.20.1', '23.0.0', '24.0.0', '100.0.0'])('may be %s', (version) => {
    expect(on(version)).toBeUndefined();
  });

  it.each(['22.18.9', '22.2.0', '20.20.2', '9.99.0'])('may not be %s', (version) => {
    expect(on(version)).toContain(`needs Node.js ${OLDEST_NODE_VERSION} or newer`);
    expect(on(version)).toContain(`this is Node.js ${version} (/usr/bin/node).`);
  });

  it('is what every package.json says', () => {
    const packages = readdirSync(join(root, 'packages')).map((name) => join('packages', name));
    const engines = ['', ...packages].map((folder) => {
      const { engines } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as {
        readonly engines?: unknown;
      };
      return [folder, engines];
    });
    expect(engines).toEqual(engines.map(([folder]) => [folder, { node: `>=${OLDEST_NODE_VERSION}` }]));
  });
});
