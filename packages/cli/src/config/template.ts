/** As `antiphon init --secure` has made it. */
export interface SecureTemplate {
  /** Of keys and certificates, from the folder of the file. */
  readonly folder: string;
  readonly inboxPrefix: string;
  readonly listen: string;
  readonly tokens: readonly { readonly name: string; readonly role: string; readonly sha256: string }[];
}

export interface TemplateValues {
  readonly cluster: string;
  readonly id: string;
  /** Without a login, which `login` names instead. */
  readonly servers: string;
  /** Its secret comes from the environment. */
  readonly login?: 'token' | { readonly user: string };
  readonly file: string;
  /** With a user of its own at NATS, certificates and tokens. */
  readonly secure?: SecureTemplate;
}

/** The file that `antiphon init` writes: what is needed, and every choice as a comment. */
export function configTemplate({ cluster, id, servers, login, file, secure }: TemplateValues): string {
  return `# One replica of an Antiphon cluster. Start it with: antiphon run --config ${secure ? `${id}.yaml` : 'antiphon.yaml'}
# \${NAME} and \${NAME:-default} are replaced by environment variables; write $$ for a plain $.

# The same on every replica of the cluster.
cluster: ${cluster}

# The name of this replica; every replica has its own.
id: ${id}

# A NATS server with JetStream. Several of one NATS cluster: [nats://a:4222, nats://b:4222, nats://c:4222], and
# streamReplicas: 3 to keep the log on three of them.
nats:
  servers: '${servers}'${secure ? secureLines(id, secure) : loginLines(id, login)}

# The database of this replica. The first replica brings its tables and rows; the others start with an empty file
# (or none) and get both. A relative path starts at the folder of this file. Other programs that write to it need a busy
# timeout, and BEGIN IMMEDIATE for transactions that read before they write (docs/other-programs.md).
store: { sqlite: { file: ${JSON.stringify(file)} } }

# Which tables are replicated. With "auto", or without this line: every table that can be, without those in which tools note which migrations were run.
# What is left out, and why: antiphon check FILE
# tables: [customers, orders]

# Triggers that use what is not replicated (a full-text index, an audit table) and stay in this database.
# localTriggers: [orders_search]

# Who may write. Without this line: what the cluster has agreed on. Its first replica becomes the primary, which alone takes writes.
# topology: { mode: primary-replica, primary: ${id} }
# Every replica takes writes. With async updates the last writer of a row wins, and two replicas give the same number to different rows
# where the database numbers them (INTEGER PRIMARY KEY): use text keys that are unique, for example UUIDs (docs/several-writers.md).
# topology: { mode: multi-primary }

# When a write is complete; the same on every replica.
# async: once this replica's database has committed it; it is sent to the others at once, or gathered for so many
# milliseconds.
update: { mode: async, intervalMs: 0 }
# sync: once the replicas that are in sync have committed it too (acks: all, majority, a number of databases, logged or
# local). With fewer than minInSync, writes are rejected, or go on without the others (onShortfall: degrade). Other
# programs' writes into the file are refused, or propagated asynchronously (foreignWrites: async).
# update: { mode: sync, acks: all, minInSync: 2, onShortfall: reject, foreignWrites: refuse }

# In a primary-replica cluster: another replica can become the primary; the same on every replica (docs/failover.md).
# failover: { mode: automatic }

${secure ? httpLines(secure) : HTTP}
# Answers clients of NATS in any language on antiphon.${cluster}.read and .write (docs/subjects.md).
# subjects: true
`;
}

const HTTP = `# Serves this replica over HTTP, on this machine (docs/http.md). Beyond it, tokens are needed.
# http: { listen: 127.0.0.1:7070 }
`;

/** Who may ask stands there by the SHA-256 of its token. */
function httpLines({ folder, listen, tokens }: SecureTemplate): string {
  const lines = tokens.map(
    ({ name, role, sha256 }) => `    - { name: ${name}, role: ${role}, sha256: '${sha256}' }`,
  );
  return `# Serves this replica over HTTP (docs/http.md). The tokens are in ${folder}/http-*.token. To listen on other
# addresses than those of this machine, add a certificate: tls: { cert: FILE, key: FILE }
http:
  listen: ${listen}
  tokens:
${lines.join('\n')}
`;
}

function secureLines(id: string, { folder, inboxPrefix }: SecureTemplate): string {
  return `
  # Its user, and what it trusts and shows (docs/security.md).
  nkey: ${folder}/${id}.nk
  tls: { ca: ${folder}/ca.pem, cert: ${folder}/${id}.pem, key: ${folder}/${id}.key }
  # Nobody else hears the answers that it gets.
  inboxPrefix: ${inboxPrefix}`;
}

function loginLines(id: string, login: TemplateValues['login']): string {
  return `${secretLines(login)}
  # How to log in there, at most one of: user and password, token, nkey (file with a seed), creds (a .creds file).
  # user: ${id}
  # password: \${ANTIPHON_PASSWORD}
  # creds: ./${id}.creds
  # Encrypted: who signed the server's certificate, and this client's own one for a server that asks for it.
  # tls: { ca: ./ca.pem, cert: ./${id}.pem, key: ./${id}.key }`;
}

function secretLines(login: TemplateValues['login']): string {
  if (login === undefined) return '';
  if (login === 'token') return "\n  token: '${ANTIPHON_TOKEN}'";
  return `\n  user: ${JSON.stringify(login.user)}\n  password: '\${ANTIPHON_PASSWORD}'`;
}
