import * as nats from 'nats';

/** As the client's own package of nkeys has it. */
export interface KeyPair {
  getPublicKey(): string;
  getSeed(): Uint8Array;
  sign(data: Uint8Array): Uint8Array;
}

interface NKeys {
  createOperator(): KeyPair;
  createAccount(): KeyPair;
  createUser(): KeyPair;
}

/** The client brings it along without saying so in its types. */
export const { nkeys } = nats as unknown as { readonly nkeys: NKeys };

/** What a user of nats-server logs in with. */
export interface UserKey {
  /** For the server's configuration. */
  readonly publicKey: string;
  /** The secret half (`SU…`), which stays with the user. */
  readonly seed: string;
}

export function createUserKey(): UserKey {
  const user = nkeys.createUser();
  return { publicKey: user.getPublicKey(), seed: new TextDecoder().decode(user.getSeed()) };
}
