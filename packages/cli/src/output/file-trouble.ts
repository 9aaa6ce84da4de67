import { AntiphonError } from '@antiphon/core';

interface Trouble {
  readonly reason: string;
  readonly remedy: string;
}

const PERMISSION: Trouble = {
  reason: 'this user has no permission',
  remedy: 'Correct its owner or its mode, or name another place.',
};
const FULL: Trouble = { reason: 'the disk is full', remedy: 'Free disk space there, or name another place.' };
const TOO_MANY: Trouble = {
  reason: 'too many files are open',
  remedy: 'Raise the limit (ulimit -n), or close programs.',
};

/** What the operating system says of a path that a user named, by the code of its error. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  ENOENT: {
    reason: 'it does not exist, or a folder on its path does not',
    remedy: 'Correct the path, or create the folder.',
  },
  EACCES: PERMISSION,
  EPERM: PERMISSION,
  EISDIR: { reason: 'it is a folder', remedy: 'Name a file.' },
  ENOTDIR: {
    reason: 'a part of its path is a file, not a folder',
    remedy: 'Correct the path.',
  },
  EEXIST: { reason: 'there is a file of that name already', remedy: 'Name another folder.' },
  EROFS: { reason: 'the file system is read-only', remedy: 'Name a place on another one.' },
  ENOSPC: FULL,
  EDQUOT: FULL,
  EFBIG: { reason: 'it would be too large', remedy: 'Name a place on another file system.' },
  ENAMETOOLONG: { reason: 'its name is too long', remedy: 'Name a shorter one.' },
  ELOOP: { reason: 'its symbolic links lead in a circle', remedy: 'Correct the links.' },
  EMFILE: TOO_MANY,
  ENFILE: TOO_MANY,
  EIO: { reason: 'the disk reported an error', remedy: 'Check the disk, or name another place.' },
  EBUSY: { reason: 'it is in use', remedy: 'End the program that uses it.' },
  ETXTBSY: { reason: 'it is in use', remedy: 'End the program that uses it.' },
};

/**
 * An error of the file system as BAD_OPTION: whatever path a command touches came from an option, a
 * configuration file or the folder it was started in. Undefined for every other error.
 */
export function fileTrouble(thrown: unknown): AntiphonError | undefined {
  if (!(thrown instanceof Error) || thrown instanceof AntiphonError) return undefined;
  const { code = '', path, dest, syscall = '' } = thrown as NodeJS.ErrnoException & { dest?: string };
  const trouble = TROUBLES[code];
  if (trouble === undefined || (path === undefined && syscall !== 'write')) return undefined;
  const file = dest ?? path;
  const { reason, remedy } = trouble;
  const what = file === undefined ? 'The output' : file;
  return new AntiphonError('BAD_OPTION', `${what} cannot be used: ${reason} (${code}). ${remedy}`, {
    cause: thrown,
    ...(file !== undefined && { context: { file } }),
  });
}
