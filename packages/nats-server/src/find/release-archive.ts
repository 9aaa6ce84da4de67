/**
 * The name of an official release archive, which is also the folder inside it (without the ending).
 */
export interface ReleaseArchive {
  readonly version: string;
  readonly folder: string;
  readonly fileName: string;
}

const OPERATING_SYSTEMS: Readonly<Record<string, string>> = {
  linux: 'linux',
  darwin: 'darwin',
  freebsd: 'freebsd',
};
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm7',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
};

/**
 * The archive for a platform in Node's words (`process.platform`, `process.arch`); undefined when
 * there is none.
 */
export function releaseArchive(version: string, platform: string, arch: string): ReleaseArchive | undefined {
  const os = OPERATING_SYSTEMS[platform];
  const cpu = ARCHITECTURES[arch];
  if (os === undefined || cpu === undefined) return undefined;
  const folder = `nats-server-v${version}-${os}-${cpu}`;
  return { version, folder, fileName: `${folder}.tar.gz` };
}

/**
 * Checksums of the pinned release, kept here so that a release that was replaced later, together
 * with its SHA256SUMS, is noticed. For other versions and platforms SHA256SUMS alone is checked.
 */
export const PINNED_CHECKSUMS: Readonly<Record<string, string>> = {
  'nats-server-v2.10.29-linux-amd64.tar.gz':
    'e314da74a83a1d3876db8814c27eb990fe729640fd6452025b441bcede8390da',
  'nats-server-v2.10.29-linux-arm64.tar.gz':
    'da4b27942ecfb4c5f0c54553d2e7f470ddda9d7581cfe8131b351a0e223ed401',
  'nats-server-v2.10.29-linux-arm7.tar.gz':
    'a59e7336a32ef78b0ca8bc3e6707a5770461d3f45c4c2f96cfef263f26eaefd5',
  'nats-server-v2.10.29-linux-386.tar.gz': 'abc385394c19784558f7aa2f9770fe2daceb22cf95e3fa398c832590479396b0',
  'nats-server-v2.10.29-linux-s390x.tar.gz':
    'ee821b1eae8bb98a0d4603510a41613dd15afef244261a79da33515699d1aece',
  'nats-server-v2.10.29-linux-ppc64le.tar.gz':
    '31b0063d261e5d8c59396f8a3f9298ad80b36fd4bc370ce59e5d160f55a0fe46',
};

/**
 * The SHA-256 (hex) that a SHA256SUMS file gives for a file name; undefined when it does not list
 * it.
 */
export function checksumFor(sums: string, fileName: string): string | undefined {
  for (const line of sums.split('\n')) {
    // `<hash>  <name>` or, for binary mode, `<hash> *<name>`.
    const match = /^([0-9a-f]{64})\s+\*?(.+?)\s*$/i.exec(line);
    if (match?.[2] === fileName) return match[1]?.toLowerCase();
  }
  return undefined;
}
