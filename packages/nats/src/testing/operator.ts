import { createHash } from 'node:crypto';
import { nkeys, type KeyPair } from '../connection/user-key.js';

export { createUserKey } from '../connection/user-key.js';

export interface Operator {
  /** For the configuration of a nats-server. */
  readonly serverConfig: string;
  /** The content of a `.creds` file of a new user. */
  credentials(permissions?: object): string;
}

/**
 * An operator with a system account and an account that has JetStream, as `nsc` would make them.
 */
export function createOperator(): Operator {
  const operator = nkeys.createOperator();
  const system = nkeys.createAccount();
  const account = nkeys.createAccount();
  const unlimited = {
    subs: -1,
    data: -1,
    payload: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1,
  };
  const jetStream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const systemJwt = sign(operator, system, 'SYS', { type: 'account', version: 2, limits: unlimited });
  const accountJwt = sign(operator, account, 'APP', {
    type: 'account',
    version: 2,
    limits: { ...unlimited, ...jetStream },
  });
  const operatorJwt = sign(operator, operator, 'OP', {
    type: 'operator',
    version: 2,
    system_account: system.getPublicKey(),
  });
  return {
    serverConfig: [
      `operator: ${operatorJwt}`,
      `system_account: ${system.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: { ${system.getPublicKey()}: ${systemJwt}, ${account.getPublicKey()}: ${accountJwt} }`,
    ].join('\n'),
    credentials: (permissions = {}) => {
      const user = nkeys.createUser();
      const limits = { subs: -1, data: -1, payload: -1 };
      const jwt = sign(account, user, 'replica', { type: 'user', version: 2, ...limits, ...permissions });
      const seed = new TextDecoder().decode(user.getSeed());
      return [
        '-----BEGIN NATS USER JWT-----',
        jwt,
        '------END NATS USER JWT------',
        '',
        '************************* IMPORTANT *************************',
        '',
        '-----BEGIN USER NKEY SEED-----',
        seed,
        '------END USER NKEY SEED------',
        '',
      ].join('\n');
    },
  };
}

function sign(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name,
    sub: subject.getPublicKey(),
    nats,
  };
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('hex');
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({ ...claims, jti })}`;
  return `${body}.${Buffer.from(issuer.sign(new TextEncoder().encode(body))).toString('base64url')}`;
}
