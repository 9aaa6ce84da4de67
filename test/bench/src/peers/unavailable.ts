/** A peer that is not installed here: a plain message, no stack. */
export class PeerUnavailable extends Error {
  override name = 'PeerUnavailable';
}
