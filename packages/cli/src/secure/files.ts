import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { AntiphonError } from '@antiphon/core';

export interface FileToWrite {
  /** Absolute. */
  readonly path: string;
  readonly content: string;
  /** Only this user reads it. */
  readonly isSecret: boolean;
}

const SECRET_MODE = 0o600;
const MODE = 0o644;

/**
 * Writes files that must not be there yet. Where one cannot be written, none is left of the others.
 * Throws BAD_OPTION.
 */
export function writeNew(files: readonly FileToWrite[]): void {
  assertNew(files);
  const written: string[] = [];
  try {
    for (const { path, content, isSecret } of files) {
      writeFileSync(path, content, { flag: 'wx', mode: isSecret ? SECRET_MODE : MODE });
      written.push(path);
    }
  } catch (error) {
    for (const path of written) rmSync(path, { force: true });
    throw error;
  }
}

/** Throws BAD_OPTION for the first that is there already. */
export function assertNew(files: readonly FileToWrite[]): void {
  const [existing] = files.filter(({ path }) => existsSync(path));
  if (existing !== undefined) throw isThere(existing.path);
}

/**
 * Writes files in place of others: whoever reads one meanwhile gets the old or the new one, whole.
 */
export function replace(files: readonly FileToWrite[]): void {
  for (const { path, content, isSecret } of files) {
    const temporary = `${path}.${process.pid}.new`;
    writeFileSync(temporary, content, { flag: 'wx', mode: isSecret ? SECRET_MODE : MODE });
    renameSync(temporary, path);
  }
}

function isThere(file: string): AntiphonError {
  const message =
    `${file} already exists, and \`--secure\` overwrites nothing. Name another folder with \`--dir\`, ` +
    'or add replicas to what is there with `--add`.';
  return new AntiphonError('BAD_OPTION', message, { context: { file } });
}
