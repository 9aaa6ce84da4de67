import { describe, expect, it } from 'vitest';
import { checksumFor, PINNED_CHECKSUMS, releaseArchive } from './release-archive.js';
import { PINNED_SERVER_VERSION } from './server-version.js';

describe('release archive', () => {
  it('is named as the NATS project names it', () => {
    expect(releaseArchive('2.10.29', 'linux', 'x64')?.fileName).toBe(
      'nats-server-v2.10.29-linux-amd64.tar.gz',
    );
    expect(releaseArchive('2.10.29', 'darwin', 'arm64')?.folder).toBe('nats-server-v2.10.29-darwin-arm64');
    expect(releaseArchive('2.10.29', 'linux', 'mips')).toBeUndefined();
    expect(releaseArchive('2.10.29', 'aix', 'x64')).toBeUndefined();
  });

  it('has a checksum kept here for the pinned version on common machines', () => {
    for (const arch of ['x64', 'arm64']) {
      const archive = releaseArchive(PINNED_SERVER_VERSION, 'linux', arch);
      expect(PINNED_CHECKSUMS[archive!.fileName]).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  it('is looked up by its whole name in SHA256SUMS, in text and in binary form', () => {
    const [one, two] = ['a'.repeat(64), 'B'.repeat(64)];
    const sums = `${one}  x.tar.gz.sig\n${one}  x.tar.gz\r\n${two} *y.tar.gz\nnot a line\n`;
    expect(checksumFor(sums, 'x.tar.gz')).toBe(one);
    expect(checksumFor(sums, 'y.tar.gz')).toBe('b'.repeat(64));
    expect(checksumFor(sums, 'tar.gz')).toBeUndefined();
  });
});
