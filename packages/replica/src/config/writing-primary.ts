/**
 * It answers nobody, and nobody takes its place: for an operator, or a caller whose write waits,
 * what that looks like is a failure.
 */
export function writingPrimary(primary: string, writingMs: number): string {
  const seconds = Math.ceil(writingMs / 1000);
  return (
    `The primary ${primary} has been inside of one write for ${seconds} s. It answers nobody meanwhile, and renews ` +
    'its lease, so it stays the primary: other writes wait for this one.'
  );
}
