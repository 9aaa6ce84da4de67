import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where Debian puts the sources of Go's libraries. ANTIPHON_GOPATH names another such folder. */
const LIBRARIES = process.env['ANTIPHON_GOPATH'] ?? '/usr/share/gocode';

/** Why programs that need these libraries cannot be built here; undefined: they can. */
export function whyNoGo(libraries: Readonly<Record<string, string>>): string | undefined {
  if (spawnSync('go', ['version']).status !== 0) return 'no go: apt-get install golang-go';
  const missing = Object.entries(libraries).filter(([path]) => !existsSync(join(LIBRARIES, 'src', path)));
  if (missing.length === 0) return undefined;
  return `no ${missing.map(([path]) => path).join(', ')}: apt-get install ${missing.map(([, name]) => name).join(' ')}`;
}

/** A program of one file, built. */
export class GoProgram implements Disposable {
  readonly #folder: string;
  readonly binary: string;

  constructor(source: string) {
    this.#folder = mkdtempSync(join(tmpdir(), 'antiphon-go-'));
    this.binary = join(this.#folder, 'program');
    const file = join(this.#folder, 'main.go');
    writeFileSync(file, source);
    const env = { ...process.env, GO111MODULE: 'off', GOPATH: LIBRARIES, GOFLAGS: '' };
    try {
      execFileSync('go', ['build', '-o', this.binary, file], { env, cwd: this.#folder, stdio: 'pipe' });
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
